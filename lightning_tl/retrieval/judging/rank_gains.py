"""What each query's rank is worth, by the metric's name in reports."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked_ranks(ranks: ArrayLike, users: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ranks and who asked as arrays: [queries] both, users numbered from 0.

    Raises:
        ValueError: no query at all, other than whole numbers from 1, or not one user for each rank.
    """
    found, asking = np.asarray(ranks), np.asarray(users)
    if found.ndim != 1 or len(found) == 0 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(f"ranks must be one row of whole numbers, got {found.dtype} of shape {found.shape}")
    if found.min() < 1:
        raise ValueError(f"ranks must be 1 or more, the first place being 1, got {found.min()}")
    if asking.shape != found.shape:
        raise ValueError(f"users must name one user for each of {len(found)} ranks, got shape {asking.shape}")
    return found.astype(np.int64), np.unique(asking, return_inverse=True)[1].astype(np.int64)


def rank_gains(ranks: ArrayLike, metric: str) -> NDArray[np.float64]:
    """[queries] in [0, 1], whose mean is the metric.

    Args:
        ranks: [queries], from 1.
        metric: `HR@k` is 1 up to rank k (of a query with one target also its Recall@k), `NDCG@k` is 1 / log2(rank + 1)
            up to rank k, `MRR` is 1 / rank.

    Raises:
        ValueError: another metric.
    """
    found = np.asarray(ranks, dtype=np.float64)
    if metric == "MRR":
        return 1 / found
    match = re.fullmatch(r"(HR|NDCG)@([1-9]\d*)", metric)
    if match is None:
        raise ValueError(f"metric must be HR@k, NDCG@k or MRR with a whole number k from 1, got {metric!r}")
    full = np.ones_like(found) if match[1] == "HR" else 1 / np.log2(found + 1)
    return np.where(found <= int(match[2]), full, 0.0)
