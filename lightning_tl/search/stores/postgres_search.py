"""Searching the table of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.stores.about import About
from lightning_tl.search.stores.postgres_conditions import where_of
from lightning_tl.search.stores.statements import Statements
from lightning_tl.search.vector_store import Found, Vectors

_DEEPER = 4  # times as many candidates of a graph as are wanted; pgvector takes 1,000 at most


def count(cursor: Statements, about: About) -> int:
    """How many items there are."""
    cursor.execute(f"SELECT count(*) FROM {about.place}")
    return int(cursor.fetchone()[0])


def nearest(cursor: Statements, about: About, query: Vectors, k: int, wanted: ItemFilter) -> Found:
    """The k nearest items to one query; what an index does not find is compared one by one.

    Args:
        cursor: in a transaction.
        about: the catalogue.
        query: [dim].
        k: how many.
        wanted: which may be found.
    """
    where, values = where_of(wanted, about)
    cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
    cursor.execute(f"SET LOCAL hnsw.ef_search = {min(1_000, max(100, _DEEPER * k))}")
    found = _ordered(cursor, about.place, where, values, query, k)
    if about.graph and len(found) < k:
        cursor.execute(f"SELECT count(*) FROM {about.place} {where}", values)
        if len(found) < int(cursor.fetchone()[0]):
            cursor.execute("SET LOCAL enable_indexscan = off")
            found = _ordered(cursor, about.place, where, values, query, k)
            cursor.execute("SET LOCAL enable_indexscan = on")
    return Found([name for name, _ in found], np.array([score for _, score in found], np.float32))


def span_of(cursor: Statements, about: About, column: str) -> tuple[float, float]:
    """The least and greatest value of a column of numbers; see `Catalogue`."""
    about.check_numbers(column)
    number = "float8" if about.columns[column] == "numbers" else "boolean::int::float8"
    value = f"(fields->>%s)::{number}"
    cursor.execute(f"SELECT min({value}), max({value}) FROM {about.place}", (column, column))
    low, high = cursor.fetchone()
    return (float("nan"), float("nan")) if low is None else (float(low), float(high))


def _ordered(
    cursor: Statements, place: str, where: str, values: Sequence[Any], query: Vectors, k: int
) -> list[tuple[str, float]]:
    cursor.execute(
        f"SELECT id, -(vector <#> %s) FROM {place} {where} ORDER BY vector <#> %s LIMIT %s",
        (query, *values, query, k),
    )
    return [(str(name), float(score)) for name, score in cursor.fetchall()]


def numbers_of(value: Any) -> Any:
    """A vector as numpy takes it."""
    return value.to_list() if hasattr(value, "to_list") else value
