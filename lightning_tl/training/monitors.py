"""Metrics that callbacks and the schedule watch: a name that will never be logged is told before training."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_tl.compat.for_lightning import has_validated

TRAINING = frozenset({"train_loss", "train_loss_step", "train_loss_epoch"})  # what every module here logs


def require_metric(who: str, name: str, logged: Collection[str]) -> None:
    """Raise a ValueError with the nearest name when `name` is not among the logged ones.

    Args:
        who: watches it, such as "the schedule monitors".
        name: of the metric that is watched.
        logged: names of metrics.
    """
    names = sorted(set(logged) - {"epoch", "step"})
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    raise ValueError(f"{who} '{name}', which is not logged{hint} (logged: {', '.join(names)})")


def watched(trainer: pl.Trainer, schedule: str | None) -> list[tuple[str, str]]:
    """Who watches what in a fit: callbacks that have a `monitor`, themselves or in their trigger, and the schedule."""
    found = [("the schedule monitors", schedule)]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = getattr(callback, "monitor", None) or getattr(getattr(callback, "trigger", None), "monitor", None)
        if isinstance(callback, EarlyStopping):
            who = "early stopping monitors"
        elif isinstance(callback, ModelCheckpoint):
            who = "the checkpoint monitors"
        else:
            who = "unfreezing monitors" if hasattr(callback, "trigger") else f"{type(callback).__name__} monitors"
        found.append((who, name))
    return [(who, name) for who, name in found if isinstance(name, str) and name]


def check_before_training(trainer: pl.Trainer, schedule: str | None, validated: Collection[str]) -> None:
    """Refuse names of which it is clear before the first step that nothing logs them.

    These are names of validation metrics that the trial validation did not log, and misspelt ones: near to a name that
    is logged. Others may be logged in training by code of the user's, and are checked at the end of its first epoch.

    Args:
        trainer: whose callbacks watch metrics.
        schedule: metric that the learning rate's schedule watches; None where it watches none.
        validated: what the trial validation logged; empty where there was none.
    """
    known = {*validated, *TRAINING}
    for who, name in watched(trainer, schedule):
        misspelt = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if validated and name not in known and (name.startswith("val") or misspelt):
            require_metric(who, name, known)


def check_after_an_epoch(trainer: pl.Trainer, schedule: str | None) -> None:
    """Refuse names that the first whole epoch has not logged, where it was validated."""
    validates = trainer.enable_validation and has_validated(trainer)
    for who, name in watched(trainer, schedule):
        if validates or not name.startswith("val"):
            require_metric(who, name, list(trainer.callback_metrics))
