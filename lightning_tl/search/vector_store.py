"""`VectorStore`: what a place that holds the vectors of a catalogue can do, whoever keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.item_filter import ItemFilter

Vectors = NDArray[np.float32]


class UnknownItemError(ValueError):
    """An item is not in the catalogue, or not any more."""


@dataclass(frozen=True)
class Found:
    """The nearest items to one query, best first.

    Args:
        ids: of the items.
        scores: [items] float32, their inner products with the query.
    """

    ids: list[str]
    scores: Vectors


@dataclass(frozen=True, kw_only=True)
class NewItems:
    """Items to be added, or to take the place of those of the same ids.

    Args:
        ids: [items], each once.
        vectors: [items, dim], unit norm.
        titles: [items] to show people; empty for none.
        fields: by column, [items] the values by which is filtered; None for what is not known.
    """

    ids: Sequence[str]
    vectors: Vectors
    titles: Sequence[str] = ()
    fields: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@runtime_checkable
class VectorStore(Protocol):
    """Vectors of a catalogue by id, which may be searched from several threads while they change."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Kind, items, dim, model_sha256, and the recall that was measured where there is one."""
        ...

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def search(self, queries: Vectors, k: int, filters: Sequence[ItemFilter] | None = None) -> list[Found]:
        """The k nearest items to each query: exactly k, or all that may be found where there are fewer.

        Args:
            queries: [queries, dim].
            k: how many, at least 1.
            filters: one for each query; None for none.

        Raises:
            ValueError: k below 1, queries of another width or that are not finite, an unknown column of a filter, or a
                value that does not fit its column.
            OSError: the store cannot be reached.
        """
        ...

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """[ids, dim] of known items.

        Raises:
            ValueError: one is unknown.
        """
        ...

    def upsert(self, items: NewItems) -> None:
        """Add items, or change those that are there; doing it twice is as doing it once.

        Raises:
            ValueError: ids that occur twice, or vectors of another width, that are not finite or not of length 1.
        """
        ...

    def remove(self, ids: Sequence[str]) -> int:
        """Remove items, and say how many were there."""
        ...


@runtime_checkable
class Catalogue(VectorStore, Protocol):
    """A store that knows of its items what people are shown."""

    def titles(self, ids: Sequence[str]) -> list[str]:
        """What people call these items; empty where there is no title.

        Raises:
            UnknownItemError: one is unknown.
        """
        ...

    def known(self, ids: Sequence[str]) -> list[bool]:
        """Whether each is an item of the catalogue."""
        ...

    def values(self, column: str, ids: Sequence[str]) -> NDArray[np.float64]:
        """[ids] of a column of numbers or truth values; NaN where a cell is empty.

        Raises:
            ValueError: there is no such column of numbers, or no such item.
        """
        ...

    def span(self, column: str) -> tuple[float, float]:
        """The least and greatest value of a column of numbers over the catalogue; NaN where all cells are empty.

        Raises:
            ValueError: there is no such column of numbers.
        """
        ...

    def allowed(self, wanted: ItemFilter, most: int | None = None) -> dict[str, None]:
        """The ids that a filter leaves.

        Args:
            wanted: the filter.
            most: how many are enough; None for all.

        Raises:
            ValueError: see `search`.
        """
        ...


def checked_queries(queries: Vectors, dim: int, k: int, filters: Sequence[ItemFilter] | None) -> Vectors:
    """Queries as every store takes them.

    Args:
        queries: [queries, dim].
        dim: that of the catalogue.
        k: how many items are wanted.
        filters: one for each query, or None.

    Raises:
        ValueError: see `VectorStore.search`.
    """
    found = np.ascontiguousarray(queries, np.float32)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if found.ndim != 2 or found.shape[1] != dim:
        raise ValueError(f"queries must be [queries, {dim}] as the catalogue's vectors, got {list(found.shape)}")
    bad = np.flatnonzero(~np.isfinite(found).all(1))
    if len(bad):
        raise ValueError(f"the query at place {bad[0]} is not finite (NaN or infinite): nothing is nearest to it")
    if filters is not None and len(filters) != len(found):
        raise ValueError(f"one filter for each query is needed, got {len(filters)} for {len(found)}")
    return found


def checked_items(items: NewItems, dim: int | None) -> Vectors:
    """The vectors of items that may be written.

    Args:
        items: to be added.
        dim: that of the catalogue, if there is one already.

    Raises:
        ValueError: see `VectorStore.upsert`; the message names items.
    """
    vectors = np.ascontiguousarray(items.vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(items.ids) or (dim is not None and vectors.shape[1] != dim):
        wanted = f"[{len(items.ids)}, {'dim' if dim is None else dim}]"
        raise ValueError(f"vectors of new items must be {wanted}, got {list(vectors.shape)}")
    for name, values in (("titles", items.titles or items.ids), *items.fields.items()):
        if len(values) != len(items.ids):
            raise ValueError(f"'{name}' must have one entry for each of {len(items.ids)} items, got {len(values)}")
    ids = np.array(items.ids, dtype=object)
    if len(set(items.ids)) < len(ids):
        seen: set[str] = set()
        twice = next(name for name in items.ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the item '{twice}' occurs more than once among the new items; keep one of each")
    lengths = np.linalg.norm(vectors, axis=1)
    for wrong, what in (
        (~np.isfinite(lengths), "has NaN or infinity"),
        (abs(lengths - 1) > 1e-3, "is not of length 1"),
    ):
        if wrong.any():
            more = f" and {wrong.sum() - 1:,} others" if wrong.sum() > 1 else ""
            raise ValueError(f"the vector of item '{ids[wrong][0]}'{more} {what}; nothing was written")
    return vectors
