"""Vectors around a few centres, as trained ones lie, and a slow search of them."""

from __future__ import annotations

import numpy as np


def clustered(count: int, seed: int, groups: int = 60, dim: int = 16) -> np.ndarray:
    """[count, dim] of unit norm."""
    centres = np.random.default_rng(7).standard_normal((groups, dim))
    draw = np.random.default_rng(seed)
    values = centres[draw.integers(0, groups, count)] + 0.35 * draw.standard_normal((count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def slow_nearest(query: np.ndarray, vectors: np.ndarray, k: int, mask: np.ndarray) -> list[int]:
    """Places, one by one."""
    scores = sorted((-float(query @ vector), place) for place, vector in enumerate(vectors) if mask[place])
    return [place for _, place in scores[:k]]
