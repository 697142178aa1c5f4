"""The place of the nearest right answer, where a query has several."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def best_ranks(queries: Tensor, candidates: Tensor, is_right: Callable[[slice], Tensor], at_once: int = 256) -> Tensor:
    """At which place each query finds the first of its right answers, from 1: [queries] int64.

    Wrong answers that are as near come before it, so that a model that makes the same of everything finds nothing.

    Args:
        queries: [queries, dim].
        candidates: [candidates, dim], ordered by their scalar product with the query.
        is_right: for some queries, [queries of the slice, candidates], which of them are right; at least one each.
        at_once: queries that are compared at once.
    """
    places = []
    for start in range(0, len(queries), at_once):
        rows = slice(start, min(start + at_once, len(queries)))
        scores = queries[rows] @ candidates.T
        right = is_right(rows)
        best = scores.masked_fill(~right, float("-inf")).amax(1, keepdim=True)
        places.append(1 + ((scores >= best) & ~right).sum(1))
    return torch.cat(places) if places else torch.zeros(0, dtype=torch.int64, device=queries.device)
