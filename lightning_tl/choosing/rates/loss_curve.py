"""`LossCurve`: the losses of a range test, and the factor that they suggest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_BETA = 0.98  # of 100 steps, as in Lightning's search and in fastai's
_SKIPPED = 0.1  # share of the steps at the beginning whose smoothed loss is of few batches


@dataclass
class LossCurve:
    """Factors and losses, step by step.

    Args:
        factors: of every group's own rate.
        losses: mean loss of each step's batches.
    """

    factors: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, factor: float, loss: float) -> None:
        """One more step."""
        self.factors.append(factor)
        self.losses.append(loss)

    def smoothed(self, steps: int) -> list[float]:
        """Exponential means of the losses so far, without the pull of a beginning at 0 (Kingma & Ba 2015, section 3).

        Args:
            steps: of the whole test, whatever of them was run: the same share of the range is averaged over.
        """
        beta = _BETA ** (100 / steps)
        mean, found = 0.0, []
        for step, loss in enumerate(self.losses, 1):
            mean = beta * mean + (1 - beta) * loss
            found.append(mean / (1 - beta**step))
        return found

    def suggestion(self, steps: int) -> float | None:
        """The factor at which the smoothed loss falls fastest by the factor's logarithm.

        The first tenth of the steps and the last one are left out, as in Lightning's search, which takes the slope by
        the rate itself and so leans to the low end.

        Args:
            steps: see `smoothed`.

        Returns:
            the factor; None where the smoothed loss nowhere falls by more than chance, four standard deviations of the
            mean of what the steps' losses scatter.
        """
        first = max(1, round(_SKIPPED * steps))
        smoothed: NDArray[np.float64] = np.array(self.smoothed(steps))
        losses = smoothed[first:-1]
        if len(losses) < 2:
            return None
        scatter = 1.4826 * float(np.median(np.abs(np.array(self.losses) - smoothed)))  # robust: the end may run away
        beta = _BETA ** (100 / steps)
        if losses[0] - losses.min() <= 4 * scatter * math.sqrt((1 - beta) / (1 + beta)):
            return None
        slopes = np.gradient(losses, np.log(self.factors[first:-1]))
        return self.factors[first + int(slopes.argmin())]
