"""Which samples come in which batch: pure functions of the seed, the epoch and the rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datamodules.loading.seeding import sample_keys

Indices = NDArray[np.int64]


class Order(Protocol):
    """The batches of an epoch; the same number in every epoch and on every rank."""

    indices: Indices  # of all ranks
    batch_size: int
    rank: int

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def batches(self, epoch: int) -> list[Indices]:
        """The sample indices of each batch, in order."""
        ...


def _check(indices: Indices, batch_size: int, rank: int, world_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be in 0…{world_size - 1}, got {rank}")
    if indices.ndim != 1:
        raise ValueError(f"indices must be a list of numbers, got an array of shape {indices.shape}")


class TrainingOrder:
    """Every sample once an epoch, in a new order each epoch, dealt out to the ranks in turn.

    The order over all ranks together depends on the seed and the epoch only; rank r takes places r, r + world_size, ….
    All ranks get the same number of samples: those left over sit out this epoch (`drop_last`) or are filled up.

    Args:
        indices: the samples.
        batch_size: per rank.
        shuffle: False keeps the order of `indices` in every epoch.
        drop_last: leave out samples that do not fill a batch, so that all batches have one size; where there are
            fewer than a batch, they are one batch. False uses all, in batches whose sizes differ by one at most, so
            that no batch is too small for batch normalisation.
    """

    def __init__(
        self,
        indices: Sequence[int] | Indices,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        self.indices = np.asarray(indices, dtype=np.int64)
        _check(self.indices, batch_size, rank, world_size)
        if len(self.indices) == 0:
            raise ValueError("there are no samples to train on")
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.shuffle = shuffle
        full = len(self.indices) // (batch_size * world_size)
        if drop_last and full:
            self._batches, self._per_rank = full, full * batch_size
        else:
            exact = len(self.indices) / world_size
            self._per_rank = int(exact) if drop_last and exact >= 1 else int(np.ceil(exact))
            self._batches = -(-self._per_rank // batch_size)

    def __len__(self) -> int:
        return self._batches

    def batches(self, epoch: int) -> list[Indices]:
        """See `Order`."""
        return list(np.array_split(self._order(epoch)[self.rank :: self.world_size], self._batches))

    def _order(self, epoch: int) -> Indices:
        """The samples of an epoch in the order in which they are dealt to the ranks."""
        order = self.indices
        if self.shuffle:
            order = order[np.argsort(sample_keys(order, self.seed, "order", epoch), kind="stable")]
        dealt: Indices = np.resize(order, self._per_rank * self.world_size)
        return dealt


class EvaluationOrder:
    """Every sample exactly once over all ranks, in the order of `indices`; none is repeated to fill up.

    Rank r reads samples r, r + world_size, …. Where a rank has a sample less and would be done a batch earlier, its
    batches are a little smaller, but as many: under DDP, ranks with different numbers of batches would wait for each
    other for ever.

    Args:
        indices: the samples.
        batch_size: per rank; one more where that is what it takes to give every rank as many batches.
    """

    def __init__(self, indices: Sequence[int] | Indices, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = np.asarray(indices, dtype=np.int64)
        _check(self.indices, batch_size, rank, world_size)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        most, fewest = -(-len(self.indices) // world_size), len(self.indices) // world_size
        self._batches = min(-(-most // batch_size), max(1, fewest)) if most else 0

    def __len__(self) -> int:
        return self._batches

    def batches(self, epoch: int = 0) -> list[Indices]:
        """See `Order`."""
        mine, size = self.indices[self.rank :: self.world_size], self.batch_size
        if -(-len(mine) // size) == self._batches:
            return [mine[start : start + size] for start in range(0, len(mine), size)]
        return [part for part in np.array_split(mine, self._batches) if len(part)]
