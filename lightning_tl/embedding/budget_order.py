"""`BudgetOrder`: batches of about the same amount of work, the longest samples first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


def budget_batches(lengths: Places, budget: int, most: int) -> list[Places]:
    """Places of samples in batches that hold at most `budget` tokens, padding included, and `most` samples.

    Samples are sorted by length, the longest first, so that batches hold little padding, and memory runs out at once
    or not at all. Samples of the same length keep their order. A sample longer than the budget is a batch of its own.

    Args:
        lengths: [n] tokens of each sample, or 1 each.
        budget: tokens of a batch, at least 1: its longest sample times its samples.
        most: samples of a batch.

    Returns:
        arrays that hold each of 0…n - 1 once.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        count = max(1, min(most, budget // max(1, int(lengths[order[start]]))))
        batches.append(order[start : start + count])
        start += count
    return batches


class BudgetOrder:
    """These batches, in this order: what a data module's loader reads.

    Args:
        batches: sample numbers of each.
    """

    rank = 0

    def __init__(self, batches: Sequence[Places]) -> None:
        self._batches = list(batches)
        self.indices = np.concatenate([np.zeros(0, np.int64), *self._batches])
        self.batch_size = max(map(len, self._batches), default=1)

    def __len__(self) -> int:
        return len(self._batches)

    def batches(self, epoch: int = 0) -> list[Places]:
        """The same in every epoch."""
        return self._batches
