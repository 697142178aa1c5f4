"""Finds image files that cannot be read before training starts, shared among the processes of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from datamodules.image_files import broken_images
from datamodules.image_records import ImageRecords
from datamodules.loading import available_workers
from datamodules.records import listed

Splits = dict[str, NDArray[np.int64]]


def without_broken(read: Callable[[int], Any], records: ImageRecords, indices: Splits, on_bad_image: str) -> Splits:
    """Read every image once; leave out those that cannot be read, or refuse to start.

    Args:
        read: reads the image of an index.
        indices: the images of each split.
        on_bad_image: "error", or "skip" to go on without them and say how many and which.

    Raises:
        ValueError: naming the files and why they cannot be read.
    """
    wanted = np.sort(np.concatenate(list(indices.values())))
    together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
    mine = wanted[rank::world_size].tolist()
    broken = broken_images(read, mine, available_workers(), progress=rank == 0)
    if together:
        parts: list[dict[int, str]] = [{} for _ in range(world_size)]
        dist.all_gather_object(parts, broken)
        broken = {index: why for part in parts for index, why in part.items()}
    if not broken:
        return indices
    files = [f"{_place(records, index)} ({why})" for index, why in sorted(broken.items())]
    if on_bad_image == "error":
        raise ValueError(
            f"{len(broken)} of {len(wanted)} images cannot be read: {listed(files)}. "
            "Repair or remove them, or set on_bad_image: skip"
        )
    rank_zero_warn(f"skipped {len(broken)} of {len(wanted)} images that cannot be read: {listed(files)}")
    bad = np.array(sorted(broken), dtype=np.int64)
    return {split: members[~np.isin(members, bad)] for split, members in indices.items()}


def _place(records: ImageRecords, index: int) -> str:
    return str(records.paths[index]) if records.paths is not None else records.ids[index]
