"""`RangeTest`: the loss while all rates grow together."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from lightning_tl.choosing.rates.growing import Growing
from lightning_tl.choosing.rates.loss_curve import LossCurve
from lightning_tl.training.trained_module import TrainedModule

_DIVERGED = 4.0  # times the lowest smoothed loss, as in Lightning's search


class RangeTest(Callback):
    """Makes a fit a range test (Smith 2017): every group's own rate times one factor that grows.

    The module's rates have one owner, whose schedule is the factor; groups that are frozen at the start stay so, and
    ratios between the others too. The fit ends with the last step, or when the loss has grown far beyond its lowest.

    Args:
        growing: the factor.

    Attributes:
        curve: the loss by factor.
        own: the rate of each group that trains, before the factor.
    """

    def __init__(self, growing: Growing) -> None:
        self.growing = growing
        self.curve = LossCurve()
        self.own: dict[str, float] = {}
        self._batches: list[float] = []  # losses of the step that is under way

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put the factor in the place of the module's schedule.

        Raises:
            ValueError: the module is not trained step by step, or not with rates of one owner.
        """
        name = type(pl_module).__name__
        if not pl_module.automatic_optimization:
            raise ValueError(
                f"{name} is not trained by small steps here, so it has no learning rate to find: take a strategy that "
                "is, such as lightning_tl.strategies.FineTune"
            )
        if not isinstance(pl_module, TrainedModule):
            raise ValueError(f"{name} is no TrainedModule, whose rates could grow together; Lightning's Tuner.lr_find")
        pl_module.schedule = self.growing

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what trains.

        Raises:
            ValueError: an own `configure_optimizers` keeps the rates.
        """
        assert isinstance(pl_module, TrainedModule)
        if pl_module.rates is None:
            raise ValueError(
                f"configure_optimizers of {type(pl_module).__name__} keeps the rates to itself: return "
                "self.scheduled(optimizer) there, so that they can grow"
            )
        own = pl_module.rates.own_by_group()
        trains = set(pl_module.trainable_groups) if pl_module.is_built else set(own)
        self.own = {name: rate for name, rate in own.items() if name in trains}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss, and end where it has grown too far."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        mean: Any = trainer.strategy.reduce(torch.as_tensor(loss).detach().float(), reduce_op="mean")
        self._batches.append(float(mean) * trainer.accumulate_grad_batches)  # which Lightning divided it by
        if trainer.global_step == len(self.curve.losses):
            return
        self.curve.add(self.growing.factor(len(self.curve.losses)), sum(self._batches) / len(self._batches))
        self._batches = []
        smoothed = self.curve.smoothed(self.growing.steps)
        grown = smoothed[-1] - min(smoothed) > (_DIVERGED - 1) * abs(min(smoothed))
        if len(self.curve.losses) >= self.growing.steps or grown:
            trainer.should_stop = True
