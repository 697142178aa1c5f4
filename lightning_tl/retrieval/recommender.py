"""`Recommender`: what to show to one user now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lightning_tl.contracts.interactions import NO_ITEM, InteractionLog
from lightning_tl.retrieval.baselines.popularity import event_counts
from lightning_tl.retrieval.retrieval_data import RetrievalData
from lightning_tl.retrieval.two_tower import TwoTower
from lightning_tl.search import FaissStore, Found
from lightning_tl.search.faiss_index.item_index import ItemIndex, Vectors
from lightning_tl.search.rules.item_rules import ItemRules
from lightning_tl.storage.tensor_digest import tensor_digest

_RECENT_S = 7 * 86_400
_AS_FOUND = ItemRules()


@dataclass(frozen=True)
class Recommendation:
    """Items for a user, best first.

    Args:
        items: numbers of the items.
        scores: their cosines; for users who are not known, the events of the last days of each.
        history: numbers of the items that were read of the user, oldest first.
        note: what the user of the result should know; empty where nothing is unusual.
        popular: whether these are popular items, for a user who is not known.
    """

    items: list[int]
    scores: list[float]
    history: list[int]
    note: str = ""
    popular: bool = False


class Recommender:
    """Searches an index with the vector of a user's history, and leaves out what the data's `exclude` says.

    Args:
        module: built and with its trained weights.
        data: its event log.
        index: of the same model; its items are found in the data by their ids, and those that the data has no longer
            are not recommended.
        log: everything that is known by now.

    Attributes:
        numbers: [items of the index] their numbers in the data.
        gone: places in the index of items that the data has no longer.
        missing: how many items of the data the index lacks, so that they cannot be recommended.

    Raises:
        ValueError: the index has no item of the data.
    """

    def __init__(self, module: TwoTower, data: RetrievalData, index: ItemIndex, log: InteractionLog) -> None:
        self.module, self.data, self.index, self.log = module.eval(), data, index, log
        self.store = FaissStore(index)
        self._numbers = {user: number for number, user in enumerate(log.user_ids)}
        self._starts = log.user_starts()
        items = {item: number for number, item in enumerate(log.item_ids)}
        self.numbers = np.array([items.get(item, NO_ITEM) for item in index.ids])  # [of the index] number in the data
        self.gone = set(np.flatnonzero(self.numbers == NO_ITEM).tolist())
        self.missing = len(items) - (len(index.ids) - len(self.gone))
        if len(self.gone) == len(index.ids):
            raise ValueError(
                f"the index was made for another catalogue: of its {len(index.ids):,} items the data has none; test "
                "the run again to make it anew"
            )

    @classmethod
    def open(cls, module: TwoTower, data: RetrievalData, index: Path, log: InteractionLog) -> Recommender:
        """With the index that a test of the same weights wrote.

        Args:
            module: built and with its trained weights.
            data: its event log.
            index: the folder `index` in the folder of the run.
            log: everything that is known by now.

        Raises:
            FileNotFoundError: there is no whole index.
            ValueError: other weights made it, its files are damaged, or it has no item of the data.
        """
        return cls(module, data, ItemIndex.open(index, tensor_digest(module.state_dict())), log)

    def number_of(self, user: str) -> int | None:
        """The number of a user; None for a stranger."""
        return self._numbers.get(user)

    def history_of(self, user: str) -> np.ndarray:
        """[events] what a known user took, oldest first."""
        number = self._numbers[user]
        return np.asarray(self.log.items[self._starts[number] : self._starts[number + 1]])

    def recommend_popular(self, k: int) -> Recommendation:
        """What a stranger gets."""
        return self._popular("", k)

    def recommend(
        self, user: str, k: int, vector: Vectors | None = None, rules: ItemRules = _AS_FOUND
    ) -> Recommendation:
        """The k best items for the user, see `exclude`.

        Args:
            user: id, as in the data; a stranger gets what is popular of late.
            k: how many, at least 1; fewer come where fewer are left.
            vector: [dim] of the user, where it was computed already.
            rules: boosts and diversity; what is popular is shown without them.

        Raises:
            ValueError: k below 1, or a boost by a column that the index has not.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        number = self._numbers.get(user)
        if number is None:
            return self._popular(f"there is no user '{user}' in the log: this is what is popular of late", k)
        taken = self.history_of(user)
        read = taken[-self.data.history_length :]
        left_out = self.gone | set(np.flatnonzero(np.isin(self.numbers, self.not_again(number, taken))).tolist())
        query = self.vector(number, read) if vector is None else vector

        def search(depth: int) -> Found:
            found = self.index.search(query, depth, left_out)
            return Found([self.index.ids[place] for place, _ in found], np.array([score for _, score in found]))

        found = rules.best(self.store, search, k)
        note = "" if len(read) else f"the user '{user}' has no history: this is by profile alone"
        items = [int(self.numbers[self.index.places[name]]) for name in found.ids]
        return Recommendation(items, found.scores.tolist(), read.tolist(), note)

    def not_again(self, user: int, taken: np.ndarray) -> np.ndarray:
        """[items] what is not offered to a user."""
        if self.data.exclude == "none":
            return taken[:0]
        viewed = self.data.viewed
        if self.data.exclude == "taken" or viewed is None:
            return taken
        first, last = np.searchsorted(viewed.users, [user, user + 1])
        return np.concatenate([taken, viewed.items[first:last]])

    @torch.no_grad()
    def vector(self, user: int, history: np.ndarray) -> Vectors:
        """[dim], unit norm.

        Args:
            user: number.
            history: [events] items, oldest first.
        """
        module, length = self.module, self.data.history_length
        items = torch.full((1, length), NO_ITEM, dtype=torch.int64)
        items[0, : len(history)] = torch.from_numpy(history.astype(np.int64))
        vectors = torch.zeros(1, length, module.items.dim)
        if len(history):
            different, place = torch.unique(items[0, : len(history)], return_inverse=True)
            vectors[0, : len(history)] = module.items(different, torch.ones(len(different), dtype=torch.bool))[place]
        profile, one = module.profiles[user][None], torch.zeros(1, dtype=torch.int64)
        found = module.users(items, vectors, profile, one, torch.tensor([len(history)]))
        result: Vectors = F.normalize(found.float(), dim=-1)[0].numpy()
        return result

    def _popular(self, note: str, k: int) -> Recommendation:
        """The items with the most events of late, then those with the most at any time."""
        best, late, told = popular_items(self.log)
        best = best[:k]
        return Recommendation(best.tolist(), late[best].astype(float).tolist(), [], note + told, popular=True)


def popular_items(log: InteractionLog) -> tuple[np.ndarray, np.ndarray, str]:
    """Items with events, those with the most of late first; the events of late of all items; and what to tell.

    Args:
        log: everything that is known by now.

    Returns:
        numbers of items, best first; [items] events of the last days; a note in brackets, or an empty text.
    """
    times, count, note = log.times, len(log.item_ids), ""
    now = int(time.time())
    come = times[times <= now]
    if len(come) < len(times):
        note = f" ({len(times) - len(come):,} events are dated after now, which is {as_utc(now)})"
    newest = int(come.max()) if len(come) else int(times.max())
    late = event_counts(log, count, since=newest - _RECENT_S, until=newest)
    ever = event_counts(log, count)
    return np.lexsort((-ever, -late))[: int((ever > 0).sum())], late, note


def as_utc(seconds: int) -> str:
    """`2024-05-01 12:30 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
