"""Randomness that is a function of what it is for, so that nothing has to be saved to repeat it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def mix(*parts: int | str) -> int:
    """A 63-bit number that depends on every part, the same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little") >> 1


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch on the CPU, from which samples are drawn.

    `torch.manual_seed` also queues a seed for each kind of accelerator that is not in use, with the text of the whole
    stack of calls: in a worker process that costs more than reading a small image, and samples draw from none of them.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def seed_all_generators(seed: int) -> None:
    """Seed these and those of accelerators, from which layers such as dropout draw."""
    seed_generators(seed)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)


def sample_keys(indices: Sequence[int] | NDArray[np.int64], *parts: int | str) -> NDArray[np.uint64]:
    """One 64-bit key for each sample: a pure function of its index and `parts`, whatever other samples are asked for.

    The finaliser of SplitMix64 (Steele et al., 2014, "Fast splittable pseudorandom number generators", fig. 17) on a
    counter that starts at `mix(*parts)`.

    Returns:
        keys [n].
    """
    counter = np.asarray(indices, dtype=np.int64).astype(np.uint64) * np.uint64(_GOLDEN)
    return _finalised(counter + np.uint64(mix(*parts) & _MASK))


def uniforms(keys: NDArray[np.uint64], count: int) -> NDArray[np.float32]:
    """`count` numbers in [0, 1) for each key, the SplitMix64 stream that starts there: [n, count]."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    bits = _finalised(keys[:, None] + steps[None, :]) >> np.uint64(40)
    return bits.astype(np.float32) / np.float32(2**24)


def _finalised(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
