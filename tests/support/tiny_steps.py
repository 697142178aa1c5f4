"""What tests look at in a run's steps."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor


class FirstStep(pl.Callback):
    """Loss and gradient of the first step, as the optimizer gets them."""

    result: tuple[float, dict[str, Tensor]]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients = {n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None}
        self.result = (float(trainer.callback_metrics["train_loss_step"]), gradients)


class StopAt(pl.Callback):
    """Breaks a run off before a step, as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, number: int) -> None:
        if trainer.global_step == self.step:
            raise InterruptedError
