"""Maximal marginal relevance (Carbonell & Goldstein, 1998): near to the query, and not all alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def diverse(
    scores: NDArray[np.floating[Any]], vectors: NDArray[np.float32], k: int, diversity: float
) -> NDArray[np.int64]:
    """Which k of the candidates are shown, in order.

    Each next item has the greatest (1 − diversity) · score − diversity · (its cosine to the nearest that is shown
    already); of equals the one that came first.

    Args:
        scores: [candidates].
        vectors: [candidates, dim], unit norm.
        k: how many, at most all.
        diversity: in [0, 1).

    Raises:
        ValueError: a diversity outside of that.
    """
    if not 0 <= diversity < 1:
        raise ValueError(f"diversity must be in [0, 1), got {diversity}")
    chosen: list[int] = []
    nearest = np.full(len(scores), -np.inf, np.float32)  # [candidates] cosine to what is shown
    left = np.ones(len(scores), bool)
    while len(chosen) < min(k, len(scores)):
        worth = (1 - diversity) * scores - (diversity * nearest if chosen else 0.0)
        best = int(np.argmax(np.where(left, worth, -np.inf)))
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return np.array(chosen, np.int64)
