"""Features of two domains as distances take them, or one error that says what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.checked_features import checked_features

Features = NDArray[np.float64]
Places = NDArray[np.int64]


def checked_pair(first: ArrayLike, second: ArrayLike, fewest: int) -> tuple[Features, Features]:
    """The same in float64, [m, dim] and [n, dim].

    Args:
        first: [m, dim] features of the one domain.
        second: [n, dim] of the other, by the same backbone.
        fewest: samples that each needs.

    Raises:
        ValueError: an empty side or one of too few samples, other dimensions, values that are not finite, or the same
            for every sample of a side.
    """
    sides = [
        checked_features(values, fewest, f"features of the {name}")
        for values, name in ((first, "source"), (second, "target"))
    ]
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(
            f"the source has features of {sides[0].shape[1]} numbers and the target of {sides[1].shape[1]}: both must "
            "come from the same backbone"
        )
    return sides[0], sides[1]


def checked_blocks(blocks: ArrayLike | None, samples: int, start: int) -> Places:
    """A number of each sample's block, counted from `start`: [samples]; each sample its own where there are none.

    Raises:
        ValueError: not one block for each sample.
    """
    if blocks is None:
        return np.arange(start, start + samples)
    given: NDArray[Any] = np.asarray(blocks)
    if given.shape != (samples,):
        raise ValueError(f"blocks must name one block for each of {samples} samples, got shape {list(given.shape)}")
    return np.unique(given, return_inverse=True)[1].astype(np.int64) + start


def drawn(blocks: Places, most: int, generator: np.random.Generator) -> Places:
    """Sorted places of at most `most` samples, drawn without replacement."""
    if len(blocks) <= most:
        return np.arange(len(blocks))
    return np.sort(generator.choice(len(blocks), most, replace=False))
