"""Tokens and stages of a vision model as maps of features."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

FINEST = 4  # pixels a place; finer stages cost more than they tell


def grid_of_tokens(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens [batch, n, dim] as a map [batch, dim, rows, columns].

    The patches are the last tokens, row by row: class, distillation, register and prompt tokens come before them. Of a
    model that merges patches, all tokens are a square of fewer places.

    Args:
        tokens: of the last layer.
        rows: of patches in an image.
        columns: likewise.

    Raises:
        ValueError: they are no grid.
    """
    count = tokens.shape[1]
    if count < rows * columns:
        rows = columns = math.isqrt(count)
        if rows * columns != count:
            raise ValueError(f"its {count} tokens are no grid of places in an image")
    patches = tokens[:, count - rows * columns :]
    return patches.transpose(1, 2).view(len(tokens), -1, rows, columns)


def channels_first(stage: Tensor) -> Tensor:
    """[batch, height, width, dim] of square images as [batch, dim, height, width]; what is so already, as it is."""
    last = stage.shape[1] == stage.shape[2] != stage.shape[3]
    return stage.permute(0, 3, 1, 2) if last else stage


def finest_first(stages: Iterable[Tensor], image_size: int) -> tuple[Tensor, ...]:
    """The last of the stages at each size, fine to coarse.

    Args:
        stages: [batch, dim, height, width] in the order of their layers.
        image_size: in pixels; stages of less than `FINEST` pixels a place are left out, where there are others.
    """
    found = {stage.shape[2]: stage for stage in stages}
    kept = {rows: stage for rows, stage in found.items() if image_size >= FINEST * rows} or found
    return tuple(kept[rows] for rows in sorted(kept, reverse=True))
