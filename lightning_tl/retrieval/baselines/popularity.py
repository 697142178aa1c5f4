"""Everybody is shown what was taken most."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.contracts.interactions import InteractionLog, Queries

_EVENTS_AT_ONCE = 4_000_000


class Popularity:
    """Items by their number of events in the training window; items with equally many have equal scores.

    Scores are places, not counts: 0 for the items with the fewest events, one more for every next different count.
    So they are exact in float32, which cannot tell counts above 16.7 million apart. Weights of events are not used.

    Args:
        log: of the training window, and of nothing later.
        item_count: size of the catalogue.

    Raises:
        ValueError: a log without events, or with items outside the catalogue.
    """

    def __init__(self, log: InteractionLog, item_count: int) -> None:
        self.name = "popularity"
        self.counts = event_counts(log, item_count)  # [items]
        self._places = torch.from_numpy(np.unique(self.counts, return_inverse=True)[1].astype(np.float32))

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice] float32, for all queries the same."""
        return self._places[items].expand(len(queries), -1)


def event_counts(
    log: InteractionLog, item_count: int, since: int | None = None, until: int | None = None
) -> NDArray[np.int64]:
    """Events of each item: [items]. Reads the log piece by piece, as it may be larger than memory.

    Args:
        log: what was taken.
        item_count: number of items in the catalogue.
        since: UTC seconds; events at this time or before are left out. None counts all.
        until: UTC seconds; events after this time are left out. None counts all.

    Raises:
        ValueError: a log without events, or with items outside the catalogue.
    """
    if len(log) == 0:
        raise ValueError("a baseline is made from at least 1 event of the training window, got 0")
    if item_count < len(log.item_ids):
        raise ValueError(f"item_count must be at least the log's {len(log.item_ids)} items, got {item_count}")
    counts = np.zeros(item_count, np.int64)
    for start in range(0, len(log), _EVENTS_AT_ONCE):
        items = log.items[start : start + _EVENTS_AT_ONCE]
        times = log.times[start : start + _EVENTS_AT_ONCE]
        if since is not None or until is not None:
            items = items[(times > (-1 if since is None else since)) & (times <= (times if until is None else until))]
        counts += np.bincount(items, minlength=item_count)
    return counts
