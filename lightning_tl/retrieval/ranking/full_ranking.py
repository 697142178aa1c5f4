"""`FullRanking`: the vectors of an evaluation's queries, ranked over the whole catalogue at its end."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.ranking.ranking import EmbeddingScorer, ranks


class FullRanking:
    """Of one process: its queries as they come, and what was found of them.

    Attributes:
        catalogue: [items, dim] unit norm, on the CPU, as of the last evaluation.
        evaluated: `event`, `rank` and `vector` of each query of the last evaluation; None before.
    """

    def __init__(self) -> None:
        self.catalogue = torch.zeros(0)
        self.evaluated: dict[str, NDArray[Any]] | None = None
        self._events: list[NDArray[np.int64]] = []
        self._vectors: list[Tensor] = []

    def begin(self) -> None:
        """Forget what an evaluation that was broken off left behind."""
        self._events, self._vectors = [], []

    def add(self, events: Tensor, vectors: Tensor) -> None:
        """Take a batch.

        Args:
            events: [queries] numbers in the log.
            vectors: [queries, dim], unit norm.
        """
        self._events.append(events.cpu().numpy())
        self._vectors.append(vectors.detach().float().cpu())

    def finish(self, queries: Queries, items: Tensor) -> NDArray[np.int64]:
        """The rank of each query that was added; empty without any.

        Args:
            queries: of the whole split, their events rising.
            items: [items, dim] vectors of the catalogue, any norm; their device does the work.
        """
        self.catalogue = F.normalize(items.detach().float(), dim=-1).cpu()
        self.evaluated = None
        if not self._events:
            return np.zeros(0, np.int64)
        events, vectors = np.concatenate(self._events), torch.cat(self._vectors)
        mine = queries[np.searchsorted(queries.events, events)]
        scorer = EmbeddingScorer("two_tower", mine, vectors.to(items.device), self.catalogue.to(items.device))
        found = ranks(scorer, mine, len(items))
        self.evaluated = {"event": events, "rank": found, "vector": vectors.numpy()}
        self.begin()
        return found
