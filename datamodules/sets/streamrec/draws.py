"""Random numbers that are the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_UNIFORMS_A_NORMAL = 12  # their sum has a variance of 1


class Draws:
    """A stream of random numbers for one part of a world; streams of different parts are independent.

    Only the raw bits of PCG64 are used, which numpy keeps the same between its versions (NEP 19; the distributions of
    `Generator` may change), and only elementwise sums and products, which IEEE 754 rounds alike everywhere. So no digit
    depends on the processor or on the mathematics library.

    Args:
        seed: of the world, at least 0.
        part: number of the part.
    """

    def __init__(self, seed: int, part: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(part,)))

    def uniforms(self, *shape: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), multiples of 2^-53."""
        raw = np.asarray(self._bits.random_raw(int(np.prod(shape, dtype=np.int64))), dtype=np.uint64)
        return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def normals(self, *shape: int) -> NDArray[np.float64]:
        """Numbers of mean 0 and variance 1, nearly normal and never beyond 6: sums of twelve uniform ones."""
        total = np.full(shape, -_UNIFORMS_A_NORMAL / 2)
        for _ in range(_UNIFORMS_A_NORMAL):
            total += self.uniforms(*shape)
        return total

    def integers(self, count: int, *shape: int) -> NDArray[np.int64]:
        """Numbers from 0 to `count - 1`, all equally likely."""
        return (self.uniforms(*shape) * count).astype(np.int64)

    def order(self, count: int) -> NDArray[np.int64]:
        """[count] the numbers from 0 to `count - 1`, shuffled."""
        return np.argsort(self.uniforms(count), kind="stable").astype(np.int64)


def pick(weights: NDArray[np.float64], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """One place in each row, in proportion to the weights; -1 where all weights of a row are 0.

    Args:
        weights: [rows, places] or [places], at least 0.
        uniforms: [rows] in [0, 1).

    Returns:
        [rows].
    """
    ends = np.cumsum(weights, axis=-1)  # one after the other, so that rounding is the same everywhere
    marks = uniforms * ends[..., -1]
    if ends.ndim == 1:
        places = np.searchsorted(ends, marks, side="right")
    else:
        places = np.count_nonzero(ends <= marks[:, None], axis=1)
    # Below 1 by 2^-53 or more, a draw times the total never rounds up to the total: the place is always inside.
    return np.where(ends[..., -1] > 0, places, -1).astype(np.int64)
