"""What the processes of a run computed, brought to the first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, distributed

Batch = Mapping[str, NDArray[Any]]


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """A copy on the CPU; floating point as float32, which bfloat16 needs."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy().copy()


def gather_batches(batches: list[Batch]) -> list[Batch]:
    """The batches of all processes on the first one; the others get their own back.

    Every process must call it; they may hold different numbers of batches.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return batches
    first = distributed.get_rank() == 0
    gathered: list[Any] | None = [None] * distributed.get_world_size() if first else None
    distributed.gather_object(batches, gathered)
    return batches if gathered is None else [batch for part in gathered for batch in part]
