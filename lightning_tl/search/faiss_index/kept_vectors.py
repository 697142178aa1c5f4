"""`KeptVectors`: the exact vectors of a catalogue, from a file mapped into memory, and those that came since."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_BLOCK = 65_536  # rows that are read at once


class KeptVectors:
    """Rows that may grow.

    Args:
        first: [items, dim], in memory or mapped from a file.
    """

    def __init__(self, first: Vectors) -> None:
        self.first = first
        self._more = np.zeros((0, first.shape[1]), np.float32)

    def __len__(self) -> int:
        return len(self.first) + len(self._more)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.first.shape[1])

    def append(self, vectors: Vectors) -> None:
        """Add rows at the end."""
        self._more = np.concatenate([self._more, vectors])

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        """[rows, dim]."""
        first = len(self.first)
        if len(self._more) == 0 or len(rows) == 0 or rows.max() < first:
            return np.asarray(self.first[rows], np.float32)
        found = np.empty((len(rows), self.dim), np.float32)
        old = rows < first
        found[old], found[~old] = self.first[rows[old]], self._more[rows[~old] - first]
        return found

    def all(self) -> Vectors:
        """[items, dim], a copy only where rows were added."""
        return self.first if len(self._more) == 0 else np.concatenate([self.first, self._more])

    def nearest(
        self, queries: Vectors, k: int, rows: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], Vectors]:
        """The k nearest of some rows, exactly: both [queries, min(k, rows)], best first, and of equals the first row.

        Args:
            queries: [queries, dim].
            k: how many.
            rows: ascending; None for all.
        """
        count = len(self) if rows is None else len(rows)
        best, scores = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
        for start in range(0, count, _BLOCK):
            here = np.arange(start, min(start + _BLOCK, count)) if rows is None else rows[start : start + _BLOCK]
            block = self.first[start : start + len(here)] if rows is None and here[-1] < len(self.first) else None
            found = queries @ (self.take(here) if block is None else block).T
            best = np.concatenate([best, np.broadcast_to(here, found.shape)], axis=1)
            scores = np.concatenate([scores, found], axis=1)
            if scores.shape[1] > k:
                near = np.argpartition(-scores, k - 1, axis=1)[:, :k]
                best, scores = np.take_along_axis(best, near, 1), np.take_along_axis(scores, near, 1)
        order = np.lexsort((best, -scores), axis=1)
        return np.take_along_axis(best, order, 1), np.take_along_axis(scores, order, 1)
