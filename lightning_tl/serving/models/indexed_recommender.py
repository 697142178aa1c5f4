"""`IndexedRecommender`: what is shown to whoever asks, by vectors of queries and an index of items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search import Found, ItemFilter
from lightning_tl.search.rules.boost import Boost, boosts_of
from lightning_tl.search.rules.item_rules import ItemRules
from lightning_tl.search.stores.about import AWAY
from lightning_tl.search.vector_store import Catalogue, UnknownItemError
from lightning_tl.serving.answering import BadInputError, ModelFacts, Recommended, UnavailableError, Wish
from lightning_tl.serving.models.known_users import KnownUsers
from lightning_tl.serving.models.queries import Query, query_of

Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[Sequence[str]], Sequence[Mapping[str, str] | None]], Vectors]

_TRIES = 10
_POPULAR = 1_000  # popular items that are looked up at a time

Answer = TypeVar("Answer")


class IndexedRecommender:
    """Answers as `RecommendingModel` asks, for any way to compute the vectors of queries.

    Args:
        facts: of the model.
        encode: from histories, oldest first and no longer than `history_length`, and profiles, None for what is not
            known, to vectors of unit norm [queries, dim]; called once for many.
        store: the index, or another store of the same items.
        users: who is known, and what is popular.
        history_length: the most items of a history that are read; the last ones are.
        reads_profiles: whether the model can answer by a profile alone.
        most: the greatest k.
        reads: whether each of some ids is an item that histories are read by; default those of the index.
        boosts: of scores, by columns of the index, for every wish; those of the wish come after them.
        pictures: see `Pictured`.

    Raises:
        ValueError: a boost by a column that is not there or not of such numbers.
    """

    def __init__(
        self,
        facts: ModelFacts,
        encode: Encode,
        store: Catalogue,
        users: KnownUsers,
        history_length: int,
        reads_profiles: bool = False,
        most: int = 1_000,
        boosts: Sequence[Boost] = (),
        reads: Callable[[Sequence[str]], list[bool]] | None = None,
        pictures: Mapping[str, bytes] | None = None,
    ) -> None:
        if most < 1 or history_length < 1:
            raise ValueError(f"most and history_length must be at least 1, got {most} and {history_length}")
        self.facts, self.encode, self.store, self.users = facts, encode, store, users
        self.history_length, self.reads_profiles, self.most = history_length, reads_profiles, most
        self.boosts, self._reads = tuple(boosts), reads or self._known
        self.pictures: Mapping[str, bytes] = {} if pictures is None else pictures
        ItemRules(self.boosts).bounds(store)

    # ---------------------------------------------------------------- what is asked

    def recommend(self, wishes: Sequence[Wish]) -> list[Recommended]:
        """See `RecommendingModel`."""
        return _once_more(lambda: self._recommend(wishes))

    def _recommend(self, wishes: Sequence[Wish]) -> list[Recommended]:
        queries = [
            query_of(wish, self.users, self._known, self._reads, self.reads_profiles, self.most) for wish in wishes
        ]
        read = [query.history[-self.history_length :] for query in queries]
        asked = [row for row, query in enumerate(queries) if query.by != "popularity"]
        vectors: dict[int, Vectors] = {}
        if asked:
            found = self.encode([read[row] for row in asked], [queries[row].profile for row in asked])
            vectors = dict(zip(asked, np.ascontiguousarray(found, np.float32), strict=True))
        rules = [self._rules(wish) for wish in wishes]
        plain = [row for row in asked if rules[row].is_plain]
        answers: dict[int, Found] = {}
        for k in {wishes[row].k for row in plain}:
            rows = [row for row in plain if wishes[row].k == k]
            answers |= dict(zip(rows, self._search([vectors[row] for row in rows], k, rows, queries), strict=True))
        shown = []
        for row, (wish, query, ordered) in enumerate(zip(wishes, queries, rules, strict=True)):
            if query.by == "popularity":
                shown.append(self._popular(wish, query, ordered))
                continue
            best = answers[row] if row in answers else self._ruled(wish, query, vectors[row], ordered)
            shown.append(self._shown(best, query, read[row], wish.k, ordered.told))
        return shown

    def similar(self, item: str, k: int) -> Recommended:
        """See `RecommendingModel`."""
        return _once_more(lambda: self._similar(item, k))

    def _similar(self, item: str, k: int) -> Recommended:
        if not self._known([item])[0]:
            raise BadInputError(f"there is no item '{item}'", 404)
        if not 1 <= k <= self.most:
            raise BadInputError(f"k must be from 1 to {self.most:,}, got {k}")
        vector = self.store.vectors([item])
        found = self.store.search(vector, k, [ItemFilter(deny=frozenset([item]))])[0]
        return self._shown(found, Query([item], None, "history", ItemFilter(), ""), [item], k)

    def trouble(self) -> str:
        """Why the store does not answer now; empty where it does. See `Dependent`."""
        try:
            self.store.known([])
        except AWAY as error:
            return str(error)
        return ""

    # ---------------------------------------------------------------- how it is found

    def _known(self, ids: Sequence[str]) -> list[bool]:
        return self.store.known(ids)

    def _search(self, vectors: list[Vectors], k: int, rows: list[int], queries: list[Query]) -> list[Found]:
        with _mendable():
            return self.store.search(np.stack(vectors), k, [queries[row].allowed for row in rows])

    def _rules(self, wish: Wish) -> ItemRules:
        with _mendable():
            rules = ItemRules((*self.boosts, *boosts_of(wish.boost)), wish.diversity)
            if wish.boost:  # a wrong one is named whatever decides, popularity too
                rules.bounds(self.store)
        return rules

    def _ruled(self, wish: Wish, query: Query, vector: Vectors, rules: ItemRules) -> Found:
        return rules.best(self.store, lambda depth: self._search([vector], depth, [0], [query])[0], wish.k)

    def _shown(self, found: Found, query: Query, read: Sequence[str], k: int, told: str = "") -> Recommended:
        history = [name for name, there in zip(read, self._known(read), strict=True) if there]
        because: list[str] = []
        if history and found.ids:
            near = self.store.vectors(found.ids) @ self.store.vectors(history).T
            because = [history[place] for place in near.argmax(1).tolist()]
        titles = dict(zip(history, self.store.titles(history), strict=True))
        notes = [query.note, _fewer(len(found.ids), k), told]
        return Recommended(
            items=found.ids,
            titles=self.store.titles(found.ids),
            scores=[float(score) for score in found.scores],
            because=because,
            history=list(read),
            history_titles=[titles.get(name, "") for name in read],
            by=query.by,
            note="; ".join(note for note in notes if note),
        )

    def _popular(self, wish: Wish, query: Query, rules: ItemRules) -> Recommended:
        """The most popular of those that may be shown, then any others of them, so that there are k."""
        wanted, popular = query.allowed, self.users.popular
        best: list[str] = []
        at_once = max(_POPULAR, 2 * wish.k)
        with _mendable():
            for start in range(0, len(popular), at_once):
                some = [
                    name for name in popular[start : start + at_once] if wanted.allow is None or name in wanted.allow
                ]
                allowed = self.store.allowed(replace(wanted, allow=frozenset(some))) if some else {}
                best += [name for name in some if name in allowed][: wish.k - len(best)]
                if len(best) == wish.k:
                    break
            if len(best) < wish.k:
                others = replace(wanted, deny=wanted.deny | frozenset(best))
                best += self.store.allowed(others, wish.k - len(best))
        events = dict(zip(popular, self.users.events, strict=True))
        scores = np.array([events.get(name, 0.0) for name in best], np.float32)
        told = "" if rules.is_plain else "popular items are shown as they are, without boosts or diversity"
        return self._shown(Found(best, scores), query, [], wish.k, told)


def _once_more(answer: Callable[[], Answer]) -> Answer:
    """An answer; made again where an item went while it was made, between the search and its title.

    Raises:
        UnavailableError: the store does not answer.
    """
    for left in reversed(range(_TRIES)):
        try:
            return answer()
        except AWAY as error:
            raise UnavailableError(str(error)) from error
        except UnknownItemError:
            if left == 0:
                raise
    raise AssertionError("the last try returns or raises")


@contextmanager
def _mendable() -> Iterator[None]:
    """What a store refuses whoever asked can mend, save that it is not there."""
    try:
        yield
    except AWAY:
        raise
    except ValueError as error:
        raise BadInputError(str(error)) from None


def _fewer(found: int, k: int) -> str:
    return "" if found == k else f"no more than {found:,} items may be shown, {k:,} were asked for"
