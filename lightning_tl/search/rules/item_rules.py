"""`ItemRules`: the order in which the nearest items are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.rules.boost import Boost, boosted
from lightning_tl.search.rules.diversity import diverse
from lightning_tl.search.vector_store import Found, Vectors

_CANDIDATES = 5  # for each item that is shown, among which a diverse choice is made
_LEAST_CANDIDATES = 100


class Described(Protocol):
    """What is known of items by a store."""

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """[ids, dim]."""
        ...

    def values(self, column: str, ids: Sequence[str]) -> NDArray[np.float64]:
        """[ids] of a column of numbers; NaN where a cell is empty."""
        ...

    def span(self, column: str) -> tuple[float, float]:
        """The least and greatest value of a column of numbers over the catalogue; NaN where all cells are empty."""
        ...


@dataclass(frozen=True)
class ItemRules:
    """Boosts, then diversity.

    Args:
        boosts: of scores, one after the other.
        diversity: in [0, 1): 0 is by score alone; share of maximal marginal relevance.

    Raises:
        ValueError: a diversity outside of that.
    """

    boosts: tuple[Boost, ...] = ()
    diversity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.diversity < 1:
            raise ValueError(f"diversity must be in [0, 1), got {self.diversity}")

    @property
    def is_plain(self) -> bool:
        """Whether items are shown as they are found."""
        return not self.boosts and self.diversity == 0

    @property
    def told(self) -> str:
        """For whoever reads the answer; empty where nothing is boosted."""
        return f"the order is boosted by {', '.join(boost.column for boost in self.boosts)}" if self.boosts else ""

    def bounds(self, store: Described) -> list[tuple[float, float]]:
        """Of each boost the least and greatest factor.

        Raises:
            ValueError: a boost by a column that is not there or not of such numbers.
        """
        return [boost.bounds(store.span(boost.column)) for boost in self.boosts]

    def best(self, store: Described, search: Callable[[int], Found], k: int) -> Found:
        """The k items to show, in order, with the scores by which they were found.

        Args:
            store: of the items.
            search: the nearest so many items.
            k: how many are wanted; fewer come where fewer are found.

        Raises:
            ValueError: see `bounds`.
        """
        wanted = k if self.diversity == 0 else max(_CANDIDATES * k, _LEAST_CANDIDATES)
        if self.boosts:
            found, scores = boosted(self.boosts, store.values, self.bounds(store), search, wanted)
        else:
            found = search(wanted)
            scores = found.scores.astype(np.float64)
        if self.diversity == 0 or not found.ids:
            return found
        order = diverse(scores, store.vectors(found.ids), k, self.diversity)
        return Found([found.ids[place] for place in order.tolist()], found.scores[order])
