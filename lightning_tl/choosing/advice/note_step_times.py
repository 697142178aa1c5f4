"""`NoteStepTimes`: a callback that writes down how long steps take."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from lightning_tl.backbones.base import Backbone
from lightning_tl.choosing.backbones.latency import latency
from lightning_tl.choosing.distance.kept_features import beside_weights
from lightning_tl.storage.partial_file import write_whole

FILE = "step_times.json"


class NoteStepTimes(Callback):
    """Write `step_times.json` into the run folder: seconds of steps, of batches of validation, and of epochs.

    Also what the backbone takes for one sample, and how many steps a whole epoch would have where the run is limited.
    A step is from the end of the one before, so what it waits for its data counts.
    """

    def __init__(self) -> None:
        self.training: list[float] = []
        self.validation: list[float] = []
        self.epochs: list[float] = []
        self._last = self._epoch = 0.0

    def _lap(self, trainer: pl.Trainer) -> float:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize(trainer.strategy.root_device)
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        return spent

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin an epoch; what lies between two counts for the first."""
        now = time.perf_counter()
        if self._epoch:
            self.epochs.append(now - self._epoch)
        self._epoch = self._last = now

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Note a step."""
        self.training.append(self._lap(trainer))

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin validation."""
        self._lap(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Note a batch."""
        if not trainer.sanity_checking:
            self.validation.append(self._lap(trainer))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what was noted."""
        if not trainer.is_global_zero or not self.training:
            return
        self.epochs.append(time.perf_counter() - self._epoch)
        whole = _length(trainer.train_dataloader), sum(_length(loader) for loader in _listed(trainer.val_dataloaders))
        found = {
            "training_s": self.training,
            "validation_s": self.validation,
            "epochs_s": self.epochs,
            "steps": int(trainer.num_training_batches),
            "validation_steps": int(sum(trainer.num_val_batches)),
            "whole_steps": whole[0],
            "whole_validation_steps": whole[1],
            "latency_ms": _latency_ms(trainer, pl_module),
            "knows_its_source": _knows_its_source(pl_module),
        }
        write_whole(Path(trainer.default_root_dir) / FILE, json.dumps(found) + "\n")


def _latency_ms(trainer: pl.Trainer, module: pl.LightningModule) -> float:
    backbone: Any = getattr(module, "backbone", None)
    if not isinstance(backbone, Backbone):
        return 0.0
    return latency(backbone, trainer.strategy.root_device, (1,)).milliseconds[1]


def _knows_its_source(module: pl.LightningModule) -> bool:
    """Whether features of what the backbone was pretrained on came with its weights."""
    backbone: Any = getattr(module, "backbone", None)
    if not isinstance(backbone, Backbone) or not backbone.arguments.get("weights", True):
        return False
    try:
        beside_weights(backbone)
    except FileNotFoundError:
        return False
    return True


def _length(loader: Any) -> int:
    return len(loader)


def _listed(loaders: Any) -> list[Any]:
    return [] if loaders is None else list(loaders) if isinstance(loaders, list | tuple) else [loaders]
