"""Everybody is shown what was taken most of late."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lightning_tl.contracts.interactions import InteractionLog, Queries
from lightning_tl.retrieval.baselines.popularity import event_counts

_DAY = 86_400  # seconds


class RecentPopularity:
    """Items by their events in the last days of the training window; equal ones by their events in all of it.

    The days end with the last event of the training window. They do not move on with the queries' times: nothing of
    what happened between the training window and a query is read. Scores are places, as those of `Popularity`.

    Args:
        log: of the training window, and of nothing later.
        item_count: size of the catalogue.
        days: above 0; fractions are allowed.

    Raises:
        ValueError: days not above 0, a log without events, or with items outside the catalogue.
    """

    def __init__(self, log: InteractionLog, item_count: int, days: float = 7) -> None:
        if not (days > 0 and math.isfinite(days)):
            raise ValueError(f"days must be above 0, got {days}")
        self.name = "recent_popularity"
        overall = event_counts(log, item_count)
        since = math.floor(int(log.times.max()) - days * _DAY)
        recent = event_counts(log, item_count, since)
        places = np.unique(np.stack([recent, overall], axis=1), axis=0, return_inverse=True)[1]
        self._places = torch.from_numpy(places.reshape(-1).astype(np.float32))

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice] float32, for all queries the same."""
        return self._places[items].expand(len(queries), -1)
