"""`FaissStore`: an `ItemIndex` as a `VectorStore`, searched by several threads while it changes or is swapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.faiss_index.item_index import ItemIndex
from lightning_tl.search.item_fields import Mask
from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.read_write_lock import ReadWriteLock
from lightning_tl.search.vector_store import Found, NewItems, UnknownItemError, Vectors, checked_queries


class FaissStore:
    """Embedded search, see `VectorStore`. Filters become selectors inside FAISS, or exact search where few are left.

    Args:
        index: of the catalogue.
    """

    def __init__(self, index: ItemIndex) -> None:
        self.index = index
        self._lock = ReadWriteLock()

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `VectorStore`."""
        index = self.index
        return {**index.facts, "items": len(index), "dim": index.dim, "model_sha256": index.model_sha256}

    def __len__(self) -> int:
        return len(self.index)

    def search(self, queries: Vectors, k: int, filters: Sequence[ItemFilter] | None = None) -> list[Found]:
        """See `VectorStore`."""
        with self._lock.reading():
            index = self.index
            checked = checked_queries(queries, index.dim, k, filters)
            if filters is None or all(one.is_empty for one in filters):
                groups: list[tuple[Mask | None, list[int]]] = [(None, list(range(len(checked))))]
            else:
                groups = _groups(index, filters)
            found: list[Found] = [Found([], np.zeros(0, np.float32))] * len(checked)
            for mask, rows in groups:
                places, scores = index.nearest(checked[rows], k, mask)
                for row, here, how in zip(rows, places.tolist(), scores, strict=True):
                    found[row] = Found([index.ids[place] for place in here], how)
            return found

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """See `VectorStore`."""
        with self._lock.reading():
            return self.index.kept.take(_places(self.index, ids))

    def titles(self, ids: Sequence[str]) -> list[str]:
        """What people call these items.

        Raises:
            ValueError: one is unknown.
        """
        with self._lock.reading():
            return [self.index.titles[place] for place in _places(self.index, ids).tolist()]

    def known(self, ids: Sequence[str]) -> list[bool]:
        """Whether each is an item of the catalogue."""
        with self._lock.reading():
            return [name in self.index.places for name in ids]

    def allowed(self, wanted: ItemFilter, most: int | None = None) -> dict[str, None]:
        """The ids that a filter leaves, in the order of their places; see `Catalogue`."""
        with self._lock.reading():
            mask = mask_of(self.index, wanted)
            places = np.flatnonzero(self.index.alive if mask is None else mask)
            return dict.fromkeys(self.index.ids[place] for place in places[:most].tolist())

    def values(self, column: str, ids: Sequence[str]) -> NDArray[np.float64]:
        """[ids] of a column of numbers; NaN where a cell is empty.

        Raises:
            ValueError: there is no such column of numbers, or no such item.
        """
        with self._lock.reading():
            return _column(self.index, column)[_places(self.index, ids)]

    def span(self, column: str) -> tuple[float, float]:
        """The least and greatest value of a column of numbers; both NaN where every cell is empty.

        Raises:
            ValueError: there is no such column of numbers.
        """
        with self._lock.reading():
            values = _column(self.index, column)[self.index.alive]
            known = values[~np.isnan(values)]
            return (float(known.min()), float(known.max())) if len(known) else (float("nan"), float("nan"))

    def upsert(self, items: NewItems) -> None:
        """See `VectorStore`."""
        with self._lock.writing():
            self.index.upsert(items)

    def remove(self, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        with self._lock.writing():
            return self.index.remove(ids)

    def swap(self, index: ItemIndex) -> None:
        """Search another index from now on; searches that are under way end with the one that they began with.

        Raises:
            ValueError: it is of another model.
        """
        if index.model_sha256 != self.index.model_sha256:
            raise ValueError(
                f"the new index was made by another model (hash {index.model_sha256[:12]}) than the one that is "
                f"searched (hash {self.index.model_sha256[:12]})"
            )
        with self._lock.writing():
            self.index = index


def _places(index: ItemIndex, ids: Sequence[str]) -> NDArray[np.int64]:
    unknown = next((name for name in ids if name not in index.places), None)
    if unknown is not None:
        raise UnknownItemError(f"there is no item '{unknown}' in the index")
    return np.array([index.places[name] for name in ids], np.int64)


def _column(index: ItemIndex, name: str) -> NDArray[np.float64]:
    if index.fields is None:
        raise ValueError(
            f"this index has no columns, and numbers of '{name}' are asked for: build it with the table of items"
        )
    return index.fields.column(name)


def mask_of(index: ItemIndex, wanted: ItemFilter) -> Mask | None:
    """[places] what a filter leaves; None where that is all."""
    if wanted.is_empty:
        return None
    if wanted.where and wanted.allow is None and not wanted.deny and index.fields is not None and index.alive.all():
        return index.fields.mask(wanted.where)  # kept from the last time, and not written to
    if wanted.allow is None:
        mask = index.alive.copy()
    else:
        mask = np.zeros(len(index.ids), bool)
        mask[[index.places[name] for name in wanted.allow if name in index.places]] = True
    if wanted.where:
        if index.fields is None:
            raise ValueError(
                f"this index has no columns to filter by, and '{next(iter(wanted.where))}' is asked for: build it with "
                "the table of items"
            )
        mask &= index.fields.mask(wanted.where)
    mask[[index.places[name] for name in wanted.deny if name in index.places]] = False
    return mask


def _groups(index: ItemIndex, filters: Sequence[ItemFilter]) -> list[tuple[Mask | None, list[int]]]:
    """The queries by what they may find, so that those of one filter are searched together."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for row, one in enumerate(filters):
        alike.setdefault((one.allow, one.deny, repr(sorted(one.where.items(), key=str))), []).append(row)
    return [(mask_of(index, filters[rows[0]]), rows) for rows in alike.values()]
