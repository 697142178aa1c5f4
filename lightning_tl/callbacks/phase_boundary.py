"""The moment between early stopping and the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason


class PhaseBoundary(EarlyStopping):
    """Calls `decide` at the end of each epoch, after every early-stopping check and before any checkpoint.

    Lightning runs the epoch-end hooks of `EarlyStopping` and `Checkpoint` callbacks after those of all others and of
    the module, so only a subclass of one of them can stand between the two. It checks no metric and has no state.

    Args:
        decide: called with the trainer and the module.
    """

    def __init__(self, decide: Callable[[pl.Trainer, pl.LightningModule], None]) -> None:
        super().__init__(monitor="")
        self.decide = decide

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide whether the phase ends."""
        self.decide(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing here: the epoch's end decides."""
        pass

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what there is lies in the callback that decides."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing, see `state_dict`."""
        pass


def place_before_checkpoints(trainer: pl.Trainer, *placed: Callback) -> None:
    """Move or add callbacks behind all others but the checkpoints.

    The list is replaced, not changed: Lightning may be walking along it.
    """
    others = [other for other in trainer.callbacks if other not in placed]  # type: ignore[attr-defined]
    checkpoints = [other for other in others if isinstance(other, Checkpoint)]
    trainer.callbacks = [  # type: ignore[attr-defined]
        *(other for other in others if not isinstance(other, Checkpoint)),
        *placed,
        *checkpoints,
    ]


def early_stops(trainer: pl.Trainer) -> list[EarlyStopping]:
    """The early-stopping callbacks that the user asked for."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [c for c in callbacks if isinstance(c, EarlyStopping) and not isinstance(c, PhaseBoundary)]


def take_back_early_stop(trainer: pl.Trainer) -> str | None:
    """Let training go on if only an exhausted patience has stopped it, and say so; other reasons stand."""
    exhausted = [s for s in early_stops(trainer) if s.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED]
    if not trainer.should_stop or not exhausted:
        return None
    trainer.should_stop = False
    return f"early stopping: {exhausted[0].stopping_reason_message}"


def reset_patience(trainer: pl.Trainer) -> None:
    """A new phase gets the whole patience of early stopping."""
    for stop in early_stops(trainer):
        stop.wait_count, stop.stopped_epoch = 0, 0
        stop.stopping_reason, stop.stopping_reason_message = EarlyStoppingReason.NOT_STOPPED, None
