"""Queries that trained nothing, by which an index is tuned and measured."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_tl.contracts.batches import query_batch
from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.retrieval_data import RetrievalData
from lightning_tl.retrieval.two_tower import TwoTower

_AT_ONCE = 256


def held_out_queries(data: RetrievalData, most: int, seed: int = 0) -> tuple[Queries, Queries]:
    """Queries to tune with, and queries of other users to measure with: up to `most` each, drawn with equal chances.

    They are of the validation window; without one, the last events of users in training. Nothing is read of a test. A
    log with one user has the same queries in both.
    """
    asked = data.queries("validation")
    if len(asked) == 0:
        log = data.training_log
        asked = Queries.of(log, log.user_starts()[1:][log.user_counts() > 0] - 1)
    generator = np.random.default_rng(seed)
    users = generator.permutation(np.unique(asked.users))
    parts = (users[: len(users) // 2], users[len(users) // 2 :]) if len(users) > 1 else (users, users)
    found = []
    for part in parts:
        rows = np.flatnonzero(np.isin(asked.users, part))
        found.append(asked[np.sort(generator.choice(rows, min(most, len(rows)), replace=False))])
    return found[0], found[1]


@torch.no_grad()
def query_vectors(module: TwoTower, queries: Queries) -> NDArray[np.float32]:
    """[queries, dim], unit norm, by the weights of the module's last evaluation."""
    length, found = module.data.history_length, [np.zeros((0, module.items.dim), np.float32)]
    for start in range(0, len(queries), _AT_ONCE):
        batch = query_batch(queries[start : start + _AT_ONCE], length)
        here = {name: value.to(module.device) for name, value in batch.items()}  # type: ignore[attr-defined]
        found.append(module.query_vectors(here).cpu().numpy())  # type: ignore[arg-type]
    return np.concatenate(found)
