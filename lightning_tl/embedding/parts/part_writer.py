"""`PartWriter`: gathers finished batches, and keeps them now and then."""

from __future__ import annotations

import signal
import time

import numpy as np
from numpy.typing import NDArray

from lightning_tl.embedding.parts.part_folder import PartFolder

_MOST_BYTES = 2**28  # held in memory, however short the time


class PartWriter:
    """Writes the batches of one process.

    Args:
        folder: where they are kept.
        seconds: between two files.
    """

    def __init__(self, folder: PartFolder, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        self._batches: list[int] = []
        self._rows: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float32]] = []
        self._bytes, self._last = 0, time.monotonic()

    def add(self, batch: int, rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """A finished batch: its number, its rows of the result [batch], and those rows [batch, dim]."""
        self._batches.append(batch)
        self._rows.append(rows)
        self._values.append(values)
        self._bytes += values.nbytes
        if time.monotonic() - self._last >= self.seconds or self._bytes >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Keep all that is finished."""
        if self._batches:
            self.folder.write(self._batches, np.concatenate(self._rows), np.concatenate(self._values))
        self._batches, self._rows, self._values = [], [], []
        self._bytes, self._last = 0, time.monotonic()

    def flush_undisturbed(self) -> None:
        """`flush` after Ctrl-C: a second one, which torchrun sends of itself, does not cut it short."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.flush()
        finally:
            signal.signal(signal.SIGINT, before)
