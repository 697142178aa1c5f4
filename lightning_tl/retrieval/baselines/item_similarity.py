"""What resembles the history, by embeddings that know nothing of the log."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.baselines.popularity import Popularity

_BELOW_EVERY_COSINE = -2.0


class ItemSimilarity:
    """Cosine of each item with the mean of the unit vectors of the history's newest items: zero-shot retrieval.

    The mean is not scaled to length 1, which changes no order. Products are summed in float64, so that items with the
    same embedding have the same score (see `EmbeddingScorer`). Items without an embedding (a number that is not finite,
    or zeros only) are below all others, and say nothing in a history; where a history has no item with an embedding,
    the order is that of the fallback.

    Args:
        name: what reports call it.
        embeddings: [items, dim], of any length.
        fallback: for queries of which nothing is known.
        history: newest events of a query's history that count, at least 1; an item twice among them counts twice.

    Raises:
        ValueError: no [items, dim], another number of items than the fallback's, or a history below 1.
    """

    def __init__(self, name: str, embeddings: Tensor, fallback: Popularity, history: int = 20) -> None:
        if embeddings.ndim != 2 or len(embeddings) != len(fallback.counts):
            raise ValueError(
                f"embeddings must be [{len(fallback.counts)} items, dim] as the fallback's items, got "
                f"{tuple(embeddings.shape)}"
            )
        if history < 1:
            raise ValueError(f"history must be at least 1 event, got {history}")
        self.name, self._fallback, self._history = name, fallback, history
        given = embeddings.detach().cpu().float()
        self._known = given.isfinite().all(dim=1) & (given != 0).any(dim=1)
        # Divided by the largest number first: squares of very large or small numbers leave the range.
        given = torch.where(self._known[:, None], given, 0.0)
        given = given / torch.where(self._known, given.abs().amax(dim=1), 1.0)[:, None]
        self._unit = given / torch.where(self._known, given.norm(dim=1), 1.0)[:, None]  # [items, dim], zeros if unknown

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice] float32 in [-1, 1], -2 for items without an embedding."""
        history = torch.from_numpy(queries.history(self._history).astype(np.int64))
        known = (history >= 0) & self._known[history.clamp(min=0)]
        vectors = self._unit[history.clamp(min=0)] * known[..., None]  # [queries, history, dim]
        profile = vectors.sum(dim=1, dtype=torch.float64) / known.sum(dim=1).clamp(min=1)[:, None]
        scores = (profile @ self._unit[items].double().T).float()
        scores[:, ~self._known[items]] = _BELOW_EVERY_COSINE
        cold = torch.nonzero(~known.any(dim=1))[:, 0]
        scores[cold] = self._fallback.scores(queries[cold.numpy()], items)
        return scores
