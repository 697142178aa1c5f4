"""`ManyRecommendations`: what `Recommender` shows, for many users at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from lightning_tl.contracts.interactions import NO_ITEM
from lightning_tl.retrieval.recommender import Recommender
from lightning_tl.search.rules.item_rules import ItemRules
from lightning_tl.search.vector_store import Vectors


class ManyRecommendations:
    """Encodes the catalogue once, and the histories of many users together.

    Args:
        recommender: of the run.
        k: items for each user, at least 1.
        rules: boosts and diversity.

    Raises:
        ValueError: k below 1.
    """

    def __init__(self, recommender: Recommender, k: int, rules: ItemRules | None = None) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.recommender, self.k, self.rules = recommender, k, rules or ItemRules()
        recommender.module.items.refresh()
        self._items = recommender.module.item_vectors()  # [items, dim]

    def table(self, users: Sequence[str]) -> pd.DataFrame:
        """A row for each user and item, in the order of the users: user, rank, item, score and by.

        `by` is "history", "profile" or "popularity", where the score is the number of events of late. Users with the
        same id get the same rows.

        Args:
            users: ids; strangers get what is popular of late.
        """
        one = self.recommender
        known = [user for user in dict.fromkeys(users) if one.number_of(user) is not None]
        found = {}
        for user, vector in zip(known, self._vectors(known), strict=True):
            number = one.number_of(user)
            assert number is not None
            found[user] = one.recommend(user, self.k, vector, self.rules)
        stranger = None if len(known) == len(set(users)) else one.recommend_popular(self.k)
        columns: dict[str, list[object]] = {name: [] for name in ("user", "rank", "item", "score", "by")}
        for user in users:
            shown = found.get(user, stranger)
            assert shown is not None
            count = len(shown.items)
            columns["user"] += [user] * count
            columns["rank"] += range(1, count + 1)
            columns["item"] += [one.log.item_ids[item] for item in shown.items]
            columns["score"] += shown.scores
            columns["by"] += ["popularity" if shown.popular else "history" if shown.history else "profile"] * count
        types = {"user": "str", "rank": "int32", "item": "str", "score": "float32", "by": "str"}
        return pd.DataFrame(columns).astype(types)

    @torch.no_grad()
    def _vectors(self, users: Sequence[str]) -> Vectors:
        """[users, dim], unit norm."""
        one, count = self.recommender, len(users)
        module, length = one.module, one.data.history_length
        if count == 0:
            return np.zeros((0, module.items.dim), np.float32)
        histories = [one.history_of(user)[-length:] for user in users]
        items = torch.full((count, length), NO_ITEM, dtype=torch.int64)
        for row, history in enumerate(histories):
            items[row, : len(history)] = torch.from_numpy(history.astype(np.int64))
        vectors = self._items[items.clamp(min=0)] * (items != NO_ITEM)[..., None]
        profile = module.profiles[torch.tensor([one.number_of(user) for user in users])]
        lengths = torch.tensor([len(history) for history in histories])
        found = module.users(items, vectors, profile, torch.arange(count), lengths)
        result: Vectors = F.normalize(found.float(), dim=-1).numpy()
        return result
