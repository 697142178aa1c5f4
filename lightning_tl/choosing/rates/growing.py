"""`Growing`: the schedule of a range test."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lightning_tl.training.schedules import Schedule

USUAL, FEWEST = 100, 10  # steps, as Lightning's search has them; with fewer nothing can be smoothed


class Growing(Schedule):
    """A factor that grows by the same share with every step, from `low` to `high` (Smith 2017, section 3.3).

    Smith lets it grow by the same amount; over orders of magnitude the same share spreads the steps evenly.

    Args:
        low: the first factor, above 0.
        high: the last, above `low`.
        steps: optimizer steps from the one to the other; None for 100, or an epoch where that has fewer.

    Attributes:
        steps: as they came out when training began.

    Raises:
        ValueError: a range that is upside down or begins at 0, or fewer than 10 steps.
    """

    needs_total_steps = False

    def __init__(self, low: float = 1e-3, high: float = 1e3, steps: int | None = None) -> None:
        if not (0 < low < high and math.isfinite(high)):
            raise ValueError(f"the factors must grow from above 0 to a higher number, got {low:g} to {high:g}")
        if steps is not None and steps < FEWEST:
            raise ValueError(f"a range test needs at least {FEWEST} steps, got {steps}")
        self.low, self.high, self.asked = low, high, steps
        self.steps = steps or USUAL

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """See `Schedule`.

        Args:
            optimizer: see `Schedule`.
            total_steps: of one epoch; 0 where nobody knows.

        Raises:
            ValueError: an epoch has fewer steps than are asked for, or than are needed.
        """
        needed = self.asked or FEWEST
        if 0 < total_steps < needed:
            fewer = f"--steps={total_steps}, " if self.asked and total_steps >= FEWEST else ""
            raise ValueError(
                f"a range test of {'' if self.asked else 'at least '}{needed} steps sees no batch twice, and an epoch "
                f"has {total_steps}: take {fewer}more samples, or smaller batches (--data.batch_size)"
            )
        if self.asked is None:
            self.steps = min(USUAL, total_steps or USUAL)
        return LambdaLR(optimizer, self.factor)

    def factor(self, step: int) -> float:
        """Of every group's own rate.

        Args:
            step: from 0; after the last one it stays.
        """
        share = min(step, self.steps - 1) / (self.steps - 1)
        return float(self.low * (self.high / self.low) ** share)
