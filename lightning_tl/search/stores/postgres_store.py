"""`PostgresStore`: a catalogue in PostgreSQL, searched by pgvector."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_tl.search.conditions import checked_condition
from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.stores.circuit import Circuit
from lightning_tl.search.stores.postgres_conditions import KINDS, condition, row_of
from lightning_tl.search.stores.postgres_connection import PostgresConnection
from lightning_tl.search.vector_store import Found, NewItems, Vectors, checked_items, checked_queries

_AT_ONCE = 1_000  # items of a batch, each of which is written whole or not at all
_CATALOGUES = "lightning_tl_catalogues"


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

    Raises:
        ModuleNotFoundError: the extra `postgres` is not installed.
        ValueError: a name that is none, or there is no such catalogue: see `create`.
        UnreachableError: the database does not answer.
    """

    def __init__(self, dsn: str, name: str, timeout_s: float = 5.0, circuit: Circuit | None = None) -> None:
        self.name = _checked(name)
        self.database = PostgresConnection(dsn, timeout_s, circuit or Circuit(f"the database of the catalogue {name}"))
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
        timeout_s: float = 5.0,
        circuit: Circuit | None = None,
    ) -> PostgresStore:
        """A new catalogue without items; one of this name that is there is emptied.

        Args:
            dsn: see the class.
            name: see the class.
            dim: length of the vectors.
            model_sha256: of the model that makes them.
            columns: by name what each holds, of `KINDS`.
            timeout_s: see the class.
            circuit: see the class.

        Raises:
            ValueError: as the class, and for columns of another kind.
        """
        for column, kind in (columns or {}).items():
            if kind not in KINDS:
                raise ValueError(f"the column '{column}' must hold one of {', '.join(KINDS)}, got {kind}")
        circuit = circuit or Circuit(f"the database of the catalogue {_checked(name)}")
        with PostgresConnection(dsn, timeout_s, circuit).asking() as cursor:
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {_CATALOGUES} (name text PRIMARY KEY, rows text, dim int, "
                "model_sha256 text, columns jsonb)"
            )
            _put_in_place(cursor, name, _new_rows(cursor, name, dim), dim, model_sha256, dict(columns or {}))
        return cls(dsn, name, timeout_s, circuit)

    # ---------------------------------------------------------------- the contract

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `VectorStore`."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
            return {
                "kind": "pgvector",
                "items": self._count(cursor, about["rows"]),
                "dim": about["dim"],
                "model_sha256": about["model_sha256"],
            }

    def __len__(self) -> int:
        with self.database.asking() as cursor:
            return self._count(cursor, self._about(cursor)["rows"])

    def search(self, queries: Vectors, k: int, filters: Sequence[ItemFilter] | None = None) -> list[Found]:
        """See `VectorStore`."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
            checked = checked_queries(queries, about["dim"], k, filters)
            wanted = filters or [ItemFilter()] * len(checked)
            return [self._nearest(cursor, about, query, k, one) for query, one in zip(checked, wanted, strict=True)]

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """See `VectorStore`."""
        with self.database.asking() as cursor:
            rows = self._about(cursor)["rows"]
            cursor.execute(f"SELECT id, vector FROM {rows} WHERE id = ANY(%s)", (list(ids),))
            found = dict(cursor.fetchall())
        unknown = next((name for name in ids if name not in found), None)
        if unknown is not None:
            raise ValueError(f"there is no item '{unknown}' in the catalogue {self.name}")
        return np.stack([np.asarray(_numbers(found[name]), np.float32) for name in ids])

    def upsert(self, items: NewItems) -> None:
        """See `VectorStore`; of many items each thousand is written whole, so that a load that was stopped goes on."""
        with self.database.asking() as cursor:
            about = self._about(cursor)
        self._write(None, about, items)

    def remove(self, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        with self.database.asking() as cursor:
            cursor.execute(f"DELETE FROM {self._about(cursor)['rows']} WHERE id = ANY(%s)", (list(ids),))
            return int(cursor.rowcount)

    # ---------------------------------------------------------------- what a database can do besides

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that the catalogue lacks, in their order: what a stopped load has still to write."""
        with self.database.asking() as cursor:
            cursor.execute(f"SELECT id FROM {self._about(cursor)['rows']} WHERE id = ANY(%s)", (list(ids),))
            there = {name for (name,) in cursor.fetchall()}
        return [name for name in ids if name not in there]

    def swap(self, items: NewItems, model_sha256: str) -> None:
        """Put a whole new catalogue in place of this one at once; until it is complete, the old one is searched.

        Args:
            items: all of them.
            model_sha256: of the model that made their vectors.

        Raises:
            ValueError: see `upsert`; the old catalogue stays.
        """
        vectors = checked_items(items, None)
        with self.database.asking() as cursor:
            about = self._about(cursor)
            rows = _new_rows(cursor, self.name, vectors.shape[1])
        try:
            self._write(rows, {**about, "dim": vectors.shape[1]}, items)
        except BaseException:
            with self.database.asking() as cursor:
                cursor.execute(f"DROP TABLE IF EXISTS {rows}")
            raise
        with self.database.asking() as cursor:
            _put_in_place(cursor, self.name, rows, vectors.shape[1], model_sha256, about["columns"])

    def make_index(self, m: int = 16, ef_construction: int = 64) -> None:
        """An HNSW index (Malkov & Yashunin, 2018), from some ten thousand items on.

        Args:
            m: neighbours of a node.
            ef_construction: candidates while it is built.
        """
        with self.database.asking(unlimited=True) as cursor:
            rows = self._about(cursor)["rows"]
            cursor.execute(
                f"CREATE INDEX ON {rows} USING hnsw (vector vector_ip_ops) "
                f"WITH (m = {int(m)}, ef_construction = {int(ef_construction)})"
            )

    def close(self) -> None:
        """End the connection."""
        self.database.close()

    # ---------------------------------------------------------------- inside

    def _about(self, cursor: Any) -> dict[str, Any]:
        """Where the rows lie; until the end of the transaction nobody puts others in their place."""
        cursor.execute("SELECT to_regclass(%s)", (_CATALOGUES,))
        row = None
        if cursor.fetchone()[0] is not None:
            cursor.execute(
                f"SELECT rows, dim, model_sha256, columns FROM {_CATALOGUES} WHERE name = %s FOR SHARE", (self.name,)
            )
            row = cursor.fetchone()
        if row is None:
            raise ValueError(f"the database has no catalogue '{self.name}': make it with PostgresStore.create")
        return dict(zip(("rows", "dim", "model_sha256", "columns"), row, strict=True))

    @staticmethod
    def _count(cursor: Any, rows: str) -> int:
        cursor.execute(f"SELECT count(*) FROM {rows}")
        return int(cursor.fetchone()[0])

    def _write(self, rows: str | None, about: Mapping[str, Any], items: NewItems) -> None:
        """Into a table of its own, or with None into the one that is searched now."""
        vectors = checked_items(items, about["dim"])
        unknown = next((name for name in items.fields if name not in about["columns"]), None)
        if unknown is not None:
            raise ValueError(f"the catalogue {self.name} has no column '{unknown}'; it has: {_named(about)}")
        titles = items.titles or [""] * len(items.ids)
        for start in range(0, len(items.ids), _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, len(items.ids)))
            values = [
                (items.ids[k], titles[k], vectors[k], json.dumps(row_of(items.fields, k, about["columns"])))
                for k in part
            ]
            with self.database.asking() as cursor:
                table = rows or self._about(cursor)["rows"]
                cursor.executemany(
                    f"INSERT INTO {table} VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (id) DO UPDATE SET title = excluded.title, "
                    "vector = excluded.vector, fields = excluded.fields",
                    values,
                )

    def _nearest(self, cursor: Any, about: Mapping[str, Any], query: Vectors, k: int, wanted: ItemFilter) -> Found:
        where, values = self._where(about, wanted)
        cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        cursor.execute(f"SET LOCAL hnsw.ef_search = {min(1_000, max(100, 2 * k))}")
        found = self._ordered(cursor, about["rows"], where, values, query, k)
        if len(found) < k:
            cursor.execute(f"SELECT count(*) FROM {about['rows']} {where}", values)
            if len(found) < int(cursor.fetchone()[0]):
                cursor.execute("SET LOCAL enable_indexscan = off")
                found = self._ordered(cursor, about["rows"], where, values, query, k)
                cursor.execute("SET LOCAL enable_indexscan = on")
        return Found([name for name, _ in found], np.array([score for _, score in found], np.float32))

    @staticmethod
    def _ordered(
        cursor: Any, rows: str, where: str, values: Sequence[Any], query: Vectors, k: int
    ) -> list[tuple[str, float]]:
        cursor.execute(
            f"SELECT id, -(vector <#> %s) FROM {rows} {where} ORDER BY vector <#> %s LIMIT %s",
            (query, *values, query, k),
        )
        return [(str(name), float(score)) for name, score in cursor.fetchall()]

    def _where(self, about: Mapping[str, Any], wanted: ItemFilter) -> tuple[str, list[Any]]:
        parts, values = [], []
        if wanted.allow is not None:
            parts.append("id = ANY(%s)")
            values.append(sorted(wanted.allow))
        if wanted.deny:
            parts.append("id <> ALL(%s)")
            values.append(sorted(wanted.deny))
        for name, asked in wanted.where.items():
            kind = about["columns"].get(name)
            if kind is None:
                raise ValueError(f"the table of items has no column '{name}' to filter by; it has: {_named(about)}")
            part, more = condition(name, checked_condition(name, asked, kind), kind)
            parts.append(part)
            values += more
        return (f"WHERE {' AND '.join(parts)}" if parts else ""), values


def _new_rows(cursor: Any, name: str, dim: int) -> str:
    rows = f"{name}_{uuid.uuid4().hex[:12]}"
    cursor.execute(f"CREATE TABLE {rows} (id text PRIMARY KEY, title text, vector vector({int(dim)}), fields jsonb)")
    return rows


def _put_in_place(cursor: Any, name: str, rows: str, dim: int, model_sha256: str, columns: dict[str, str]) -> None:
    cursor.execute(f"SELECT rows FROM {_CATALOGUES} WHERE name = %s FOR UPDATE", (name,))
    before = cursor.fetchone()
    cursor.execute(
        f"INSERT INTO {_CATALOGUES} VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET rows = "
        "excluded.rows, dim = excluded.dim, model_sha256 = excluded.model_sha256, columns = excluded.columns",
        (name, rows, dim, model_sha256, json.dumps(columns)),
    )
    if before is not None:
        cursor.execute(f"DROP TABLE IF EXISTS {before[0]}")


def _checked(name: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", name):
        raise ValueError(f"a catalogue's name is of small letters, digits and underscores, got '{name}'")
    return name


def _named(about: Mapping[str, Any]) -> str:
    return ", ".join(sorted(about["columns"])) or "none"


def _numbers(value: Any) -> Any:
    return value.to_list() if hasattr(value, "to_list") else value
