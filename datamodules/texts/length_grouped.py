"""Batches of texts of about the same length, so that little of them is padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.loading.orders import Indices, TrainingOrder
from datamodules.loading.seeding import sample_keys

POOL = 50  # batches that are sorted together


class LengthGroupedOrder(TrainingOrder):
    """Every sample once an epoch; batches hold samples of about the same length, and come in a random order.

    The shuffled samples are sorted within pools of 50 batches, so that who meets whom in a batch still changes from
    epoch to epoch. The ranks' parts of a batch have about the same length too, so none waits long for another.

    Args:
        lengths: [all samples] tokens, looked up by index.
        *args: as of `TrainingOrder`.
        **kwargs: likewise.
    """

    def __init__(self, lengths: NDArray[np.int64], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lengths = lengths

    def batches(self, epoch: int) -> list[Indices]:
        """See `Order`."""
        order = self._order(epoch)
        pool = POOL * self.batch_size * self.world_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        order = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in pools])
        mine: list[Indices] = list(np.array_split(order[self.rank :: self.world_size], self._batches))
        turns = np.arange(self._batches)
        if self.shuffle:
            turns = np.argsort(sample_keys(turns, self.seed, "batches", epoch), kind="stable")
        return [mine[turn] for turn in turns]


def padding_share(batches: list[Indices], lengths: NDArray[np.int64]) -> float:
    """Share of the tokens in padded batches that are padding, in 0…1."""
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / padded
