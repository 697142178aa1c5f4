"""Of which training steps loggers get the numbers."""

from __future__ import annotations

import lightning.pytorch as pl


def is_logged(trainer: pl.Trainer) -> bool:
    """Whether loggers get those of the step that is being taken; Lightning drops the others."""
    return (trainer.global_step + 1) % _interval(trainer) == 0


def none_was_logged(trainer: pl.Trainer) -> bool:
    """Whether the run was shorter so far than the interval between logged steps."""
    return trainer.global_step < _interval(trainer)


def _interval(trainer: pl.Trainer) -> int:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return max(1, every)
