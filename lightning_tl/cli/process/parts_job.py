"""`PartsJob`: a table that a command makes in parts, opened, and how its parts are shared out and joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lightning_tl.embedding import Ranks
from lightning_tl.storage.parts_on_disk import PartsOnDisk


@dataclass(frozen=True)
class PartsJob:
    """Model and data are opened, and nothing is written.

    Args:
        parts: of the table.
        make: writes these parts; with a progress bar or without.
        gpu: whether one who makes parts wants a GPU where there are some.
    """

    parts: PartsOnDisk
    make: Callable[[list[int], bool], None]
    gpu: bool = False

    def share(self, ranks: Ranks, overwrite: bool, elsewhere: Callable[[PartsJob], None] | None) -> int | None:
        """Make what is not there, with the other processes of the job, and join it.

        Args:
            ranks: this process among those of the job.
            overwrite: replace the output.
            elsewhere: makes the parts that are left in the place of this process; None for here.

        Returns:
            the rows of the output, on the first process.
        """
        parts, first = self.parts, ranks.rank == 0
        if first:
            parts.begin(overwrite)
            if done := parts.count - len(parts.left(0, 1)):
                print(f"going on: {done:,} of {parts.count:,} parts were done before", flush=True)
        ranks.wait()
        if elsewhere is None:
            self.make(parts.left(ranks.rank, ranks.world_size), first)
        else:
            elsewhere(self)
        ranks.wait()
        rows = parts.finish() if first else None
        ranks.wait()
        return rows
