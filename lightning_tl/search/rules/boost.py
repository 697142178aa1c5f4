"""`Boost`: a column of the table of items that raises or lowers what is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.vector_store import Found

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Boost:
    """What an item's score becomes: score + weight · value, or score · value ** weight.

    Args:
        column: of numbers; an item whose cell is empty keeps its score.
        how: "add" or "multiply"; the values of the latter must be above 0.
        weight: of the column.
    """

    column: str
    how: Literal["add", "multiply"] = "add"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.how not in ("add", "multiply"):
            raise ValueError(f"a boost is 'add' or 'multiply', got '{self.how}'")
        if not np.isfinite(self.weight):
            raise ValueError(f"the weight of a boost must be finite, got {self.weight}")

    def factors(self, values: Values) -> Values:
        """[items] what is added to a score, or what it is multiplied by.

        Raises:
            ValueError: infinite values, values to multiply by that are not above 0, or a weight by which they become
                infinite.
        """
        known = ~np.isnan(values)
        if np.isinf(values).any():
            raise ValueError(f"the column '{self.column}' of a boost has infinite values")
        with np.errstate(over="ignore"):
            if self.how == "add":
                found = np.where(known, self.weight * np.where(known, values, 0.0), 0.0)
            elif (values[known] <= 0).any():
                raise ValueError(
                    f"the column '{self.column}' is to multiply scores, and has values that are not above 0"
                )
            else:
                found = np.where(known, np.where(known, values, 1.0) ** self.weight, 1.0)
        if not (np.abs(found) <= _MOST).all():
            raise ValueError(
                f"the weight {self.weight:g} makes more of the column '{self.column}' than can be added up; give a "
                "smaller one"
            )
        return found

    def bounds(self, span: tuple[float, float]) -> tuple[float, float]:
        """The least and greatest factor of a catalogue, an empty cell's among them.

        Args:
            span: of the column; NaN where every cell is empty.

        Raises:
            ValueError: see `factors`.
        """
        factors = self.factors(np.array([*span, np.nan]))
        return float(factors.min()), float(factors.max())


_MOST = 1e100  # of a factor: several of them must still give finite scores


def boosts_of(wanted: Mapping[str, Any]) -> tuple[Boost, ...]:
    """Boosts as a request writes them.

    Args:
        wanted: by column a weight, by which its value is added, or `{"how": "multiply", "weight": …}`.

    Raises:
        ValueError: a weight that is none, or another `how`.
    """
    made = []
    for column, how in wanted.items():
        fields = dict(how) if isinstance(how, Mapping) else {"weight": how}
        weight = fields.pop("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ValueError(f"the weight of the boost by '{column}' must be a number, got {weight!r}")
        if unknown := set(fields) - {"how"}:
            raise ValueError(f"a boost has 'how' and 'weight', and that by '{column}' has '{sorted(unknown)[0]}'")
        made.append(Boost(column, fields.get("how", "add"), float(weight)))
    return tuple(made)


def boosted(
    boosts: Sequence[Boost],
    columns: Callable[[str, Sequence[str]], Values],
    bounds: Sequence[tuple[float, float]],
    search: Callable[[int], Found],
    k: int,
) -> tuple[Found, Values]:
    """The k items of the greatest boosted score, and these scores, as if every item had been looked at.

    The nearest items are taken ever deeper, until no item further away could come in, whatever its boost (the threshold
    of Fagin, Lotem & Naor, 2001).

    Args:
        boosts: one after the other.
        columns: their values of some items.
        bounds: of each boost the least and greatest of its factors over the whole catalogue.
        search: the nearest so many items.
        k: how many are wanted.
    """
    depth = 4 * k
    while True:
        found = search(depth)
        scores = found.scores.astype(np.float64)
        limit = float(scores[-1]) if len(scores) else 0.0
        for boost, (low, high) in zip(boosts, bounds, strict=True):
            factors = boost.factors(columns(boost.column, found.ids))
            scores = scores + factors if boost.how == "add" else scores * factors
            limit = limit + high if boost.how == "add" else max(limit * low, limit * high)
        order = np.argsort(-scores, kind="stable")[:k]
        if len(found.ids) < depth or scores[order[-1]] >= limit:
            ids = [found.ids[place] for place in order.tolist()]
            return Found(ids, found.scores[order]), scores[order]
        depth *= 4
