"""`PostgresStore`: a catalogue in PostgreSQL, searched by pgvector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.stores.about import About, checked_columns, checked_name
from lightning_tl.search.stores.circuit import Circuit
from lightning_tl.search.stores.postgres_conditions import where_of
from lightning_tl.search.stores.postgres_connection import PostgresConnection
from lightning_tl.search.stores.postgres_search import count, nearest, numbers_of, span_of
from lightning_tl.search.stores.postgres_tables import about_now, held, load, make_graph, write
from lightning_tl.search.stores.rows import batches, checked_rows
from lightning_tl.search.stores.statements import Statements
from lightning_tl.search.vector_store import Found, NewItems, UnknownItemError, Vectors, checked_items, checked_queries

Told = Callable[[int, int], None]


class PostgresStore:
    """A catalogue under a name; see `VectorStore`. What a filter asks for becomes part of the query.

    Rows of a catalogue lie in a table of their own, and its name stands in one row of `lightning_tl_catalogues`: `swap`
    exchanges a whole catalogue by writing that row, and a search that is under way ends with the table it began with.
    Search is exact unless `make_index` was called; with an index pgvector scans on until k items are found, and what it
    cannot find so is compared one by one.

    Args:
        dsn: of the database, `postgresql://user@host/name`.
        name: of the catalogue: letters, digits and underscores.
        timeout_s: for connecting, and for each statement.
        circuit: opens after failures in a row; default three, for five seconds.
        model_sha256: of the model that asks; None takes a catalogue of any.

    Raises:
        ModuleNotFoundError: the extra `postgres` is not installed.
        ValueError: a name that is none, or there is no such catalogue: see `create`.
        UnreachableError: the database does not answer.
        OtherModelError: another model made the vectors.
    """

    def __init__(
        self,
        dsn: str,
        name: str,
        timeout_s: float = 5.0,
        circuit: Circuit | None = None,
        model_sha256: str | None = None,
    ) -> None:
        self.name, self.model_sha256 = checked_name(name), model_sha256
        self.database = PostgresConnection(dsn, timeout_s, circuit or _circuit(name))
        with self.database.asking() as cursor:
            self._about(cursor)

    @classmethod
    def create(
        cls,
        dsn: str,
        name: str,
        dim: int,
        model_sha256: str,
        columns: Mapping[str, str] | None = None,
        **options: Any,
    ) -> PostgresStore:
        """A new catalogue without items; one of this name that is there is emptied.

        Args:
            dsn: see the class.
            name: see the class.
            dim: length of the vectors.
            model_sha256: of the model that makes them.
            columns: by name what each holds, of `KINDS`.
            **options: of `load`.

        Raises:
            ValueError: as the class, and for columns of another kind.
        """
        none = NewItems(ids=[], vectors=np.zeros((0, dim), np.float32))
        return cls.load(dsn, name, none, model_sha256, columns, **options)

    @classmethod
    def load(
        cls,
        dsn: str,
        name: str,
        items: NewItems,
        model_sha256: str,
        columns: Mapping[str, str] | None = None,
        *,
        graph: bool = False,
        timeout_s: float = 5.0,
        circuit: Circuit | None = None,
        told: Told = lambda done, count: None,
    ) -> PostgresStore:
        """A whole catalogue, in place of one of this name; until it is complete, the old one is searched.

        What was written by a load of the same items that was stopped is not written again.

        Args:
            dsn: see the class.
            name: see the class.
            items: all of them.
            model_sha256: of the model that made their vectors.
            columns: by name what each holds, of `KINDS`.
            graph: whether an index is made before it takes its place, see `make_index`.
            timeout_s: see the class.
            circuit: see the class.
            told: is handed how many items are written, and of how many.

        Raises:
            ValueError: see the class and `VectorStore.upsert`; the old catalogue stays.
        """
        circuit = circuit or _circuit(checked_name(name))
        dim = checked_items(items, None).shape[1]
        kinds = checked_columns(columns or {})
        about = About(place="", dim=dim, model_sha256=model_sha256, columns=kinds, graph=graph)
        database = PostgresConnection(dsn, timeout_s, circuit)
        try:
            load(database, name, items, about, told)
        finally:
            database.close()
        return cls(dsn, name, timeout_s, circuit)

    # ---------------------------------------------------------------- the contract

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `VectorStore`."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
            items = count(cursor, about)
        return {"kind": "pgvector", "items": items, "dim": about.dim, "model_sha256": about.model_sha256}

    @property
    def columns(self) -> Mapping[str, str]:
        """By name what each column holds, of `KINDS`."""
        with self.database.asking() as cursor:
            return self._about(cursor).columns

    def __len__(self) -> int:
        with self.database.asking() as cursor:
            return count(cursor, self._about(cursor))

    def search(self, queries: Vectors, k: int, filters: Sequence[ItemFilter] | None = None) -> list[Found]:
        """See `VectorStore`."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
            checked = checked_queries(queries, about.dim, k, filters)
            wanted = filters or [ItemFilter()] * len(checked)
            return [nearest(cursor, about, query, k, one) for query, one in zip(checked, wanted, strict=True)]

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """See `VectorStore`."""
        found, about = self._values("vector", ids)
        rows = [np.asarray(numbers_of(found[name]), np.float32) for name in ids]
        return np.array(rows, np.float32).reshape(len(ids), about.dim)

    def upsert(self, items: NewItems) -> None:
        """See `VectorStore`; of many items each thousand is written whole, so that a load that was stopped goes on."""
        with self.database.asking() as cursor:
            vectors = checked_rows(items, self._about(cursor), self.name)
        for part in batches(len(items.ids)):
            with self.database.asking() as cursor:
                write(cursor, self._about(cursor), items, vectors, part)

    def remove(self, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        with self.database.asking() as cursor:
            cursor.execute(f"DELETE FROM {self._about(cursor).place} WHERE id = ANY(%s)", (list(ids),))
            return int(cursor.rowcount)

    # ---------------------------------------------------------------- what an answer needs besides

    def titles(self, ids: Sequence[str]) -> list[str]:
        """See `Catalogue`."""
        found, _ = self._values("title", ids)
        return [str(found[name]) for name in ids]

    def known(self, ids: Sequence[str]) -> list[bool]:
        """See `Catalogue`."""
        with self.database.asking() as cursor:
            there = held(cursor, self._about(cursor).place, ids)
        return [name in there for name in ids]

    def allowed(self, wanted: ItemFilter, most: int | None = None) -> dict[str, None]:
        """See `Catalogue`."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
            where, values = where_of(wanted, about)
            cursor.execute(f"SELECT id FROM {about.place} {where} ORDER BY id LIMIT %s", (*values, most))
            return dict.fromkeys(str(name) for (name,) in cursor.fetchall())

    def values(self, column: str, ids: Sequence[str]) -> NDArray[np.float64]:
        """See `Catalogue`."""
        found, about = self._values("fields", ids)
        about.check_numbers(column)
        return np.array(
            [np.nan if found[name].get(column) is None else found[name][column] for name in ids], np.float64
        )

    def span(self, column: str) -> tuple[float, float]:
        """See `Catalogue`."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
            return span_of(cursor, about, column)

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that the catalogue lacks, in their order."""
        return [name for name, there in zip(ids, self.known(ids), strict=True) if not there]

    # ---------------------------------------------------------------- what a database can do besides

    def swap(self, items: NewItems, model_sha256: str, told: Told = lambda done, count: None) -> None:
        """Put a whole new catalogue in place of this one at once; until it is complete, the old one is searched.

        Args:
            items: all of them.
            model_sha256: of the model that made their vectors.
            told: see `load`.

        Raises:
            ValueError: see `upsert`; the old catalogue stays.
        """
        dim = checked_items(items, None).shape[1]
        with self.database.asking() as cursor:
            about = replace(self._about(cursor), dim=dim, model_sha256=model_sha256)
        load(self.database, self.name, items, about, told)
        self.model_sha256 = None if self.model_sha256 is None else model_sha256

    def make_index(self, m: int = 16, ef_construction: int = 64) -> None:
        """An HNSW index (Malkov & Yashunin, 2018), from some ten thousand items on.

        Args:
            m: neighbours of a node.
            ef_construction: candidates while it is built.
        """
        with self.database.asking(unlimited=True) as cursor:
            make_graph(cursor, self._about(cursor), m, ef_construction)

    def close(self) -> None:
        """End the connection."""
        self.database.close()

    # ---------------------------------------------------------------- inside

    def _about(self, cursor: Statements) -> About:
        about = about_now(cursor, self.name)
        about.check_model(self.name, self.model_sha256)
        return about

    def _values(self, column: str, ids: Sequence[str]) -> tuple[dict[str, Any], About]:
        """What stands in a column of the table for each of the items, all of which are known."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
            cursor.execute(f"SELECT id, {column} FROM {about.place} WHERE id = ANY(%s)", (list(ids),))
            found = dict(cursor.fetchall())
        unknown = next((name for name in ids if name not in found), None)
        if unknown is not None:
            raise UnknownItemError(f"there is no item '{unknown}' in the catalogue {self.name}")
        return found, about


def _circuit(name: str) -> Circuit:
    return Circuit(f"the database of the catalogue {name}")
