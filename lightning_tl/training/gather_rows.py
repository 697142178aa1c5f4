"""Rows of all processes, with their gradients, where processes may have different numbers of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def summed(rows: Tensor, ranks: int) -> Tensor:
    """The sum over all processes, on each of them; in place, without gradients."""
    if ranks > 1:
        dist.all_reduce(rows)
    return rows


@dataclass(frozen=True)
class RowCounts:
    """How many rows each process has.

    Args:
        of_rank: one number for each process.
        rank: this process.
    """

    of_rank: tuple[int, ...]
    rank: int = 0

    @classmethod
    def gathered(cls, rows: int, device: torch.device, world_size: int, rank: int) -> RowCounts:
        """Ask all processes."""
        if world_size == 1:
            return cls((rows,))
        found = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world_size)]
        dist.all_gather(found, torch.tensor([rows], device=device))
        return cls(tuple(int(count) for count in found), rank)

    @property
    def total(self) -> int:
        """Rows of all processes."""
        return sum(self.of_rank)

    @property
    def before(self) -> int:
        """Rows of the processes before this one: where its own begin."""
        return sum(self.of_rank[: self.rank])

    def gather(self, rows: Tensor) -> Tensor:
        """[rows of this process, …] of every process to [total, …], in the order of the processes.

        The gradient of a process's own rows is the sum over all processes. With the local rows of a loss by gathered
        columns, divided by the number of all rows and multiplied by the number of processes, DDP's mean of the
        parameters' gradients is that of the whole batch in one process.
        """
        if len(self.of_rank) == 1:
            return rows
        longest = max(self.of_rank)
        padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])]).contiguous()
        if rows.is_floating_point():
            pieces = list(all_gather(padded))  # type: ignore[no-untyped-call]
        else:
            pieces = [torch.empty_like(padded) for _ in self.of_rank]
            dist.all_gather(pieces, padded)
        return torch.cat([piece[:count] for piece, count in zip(pieces, self.of_rank, strict=True)])
