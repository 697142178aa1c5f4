"""The ranking of two embeddings: of what is asked, and of what is there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.contracts.interactions import Queries


class EmbeddingScorer:
    """Inner products of embeddings.

    Products are summed in float64 and rounded to float32. In float32 a matrix product depends on where in the matrix
    a number stands: items with the very same embedding get scores that differ in the last bit, and a tie goes
    unnoticed. Devices without float64 (MPS) hand the work to the CPU.

    Args:
        name: what reports call it.
        queries: whose embeddings are given; `scores` takes any of them, in any order.
        query_embeddings: [queries, dim], any floating point.
        item_embeddings: [items, dim], on the device of `query_embeddings`.
    """

    def __init__(self, name: str, queries: Queries, query_embeddings: Tensor, item_embeddings: Tensor) -> None:
        shapes = f"{tuple(query_embeddings.shape)} and {tuple(item_embeddings.shape)}"
        if query_embeddings.ndim != 2 or item_embeddings.ndim != 2 or len(query_embeddings) != len(queries):
            raise ValueError(f"embeddings must be [{len(queries)} queries, dim] and [items, dim], got {shapes}")
        if query_embeddings.shape[1] != item_embeddings.shape[1]:
            raise ValueError(f"queries and items must have embeddings of the same length, got {shapes}")
        self.name, self._log = name, queries.log
        device = torch.device("cpu") if query_embeddings.device.type == "mps" else query_embeddings.device
        self._queries, self._items = query_embeddings.detach().to(device), item_embeddings.detach().to(device)
        self._order = np.argsort(queries.events, kind="stable")
        self._events = queries.events[self._order]

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice] float32."""
        rows = torch.from_numpy(self._rows(queries)).to(self._queries.device)
        return (self._queries[rows].double() @ self._items[items].double().T).float()

    def _rows(self, queries: Queries) -> NDArray[np.int64]:
        """[queries] their places among the embeddings."""
        place = np.searchsorted(self._events, queries.events)
        known = place < len(self._events)
        known[known] = self._events[place[known]] == queries.events[known]
        if queries.log is not self._log or not known.all():
            strange = "another log" if queries.log is not self._log else f"event {queries.events[~known][0]}"
            raise ValueError(f"{self.name} has embeddings of the queries it was built with, not of {strange}")
        return self._order[place].astype(np.int64)
