"""What a run of a study came to."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Args:
        error: why it failed; None for a finished run.
        val_loss: least of those that were logged; NaN where none was.
        curve: (step, validation loss) of each look at validation.
        trainable: parameters that were trained.
        total: parameters.
        seconds: of training.
        peak_bytes: memory, of the GPU where there is one.
        checkpoint_bytes: size of the best checkpoint.
        data: hash of the test samples, by which runs of other data are recognised.
    """

    error: str | None = None
    val_loss: float = math.nan
    curve: tuple[tuple[int, float], ...] = ()
    trainable: int = 0
    total: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    checkpoint_bytes: int = 0
    data: str = ""
