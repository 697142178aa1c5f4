"""Tables in which catalogues lie, and the one in which stands which table is searched."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from lightning_tl.search.stores.about import About, NoCatalogueError
from lightning_tl.search.stores.postgres_connection import PostgresConnection
from lightning_tl.search.stores.rows import batches, checked_rows, fingerprint, is_place_of, place_of_load, row_of
from lightning_tl.search.stores.statements import Statements
from lightning_tl.search.vector_store import NewItems, Vectors

_CATALOGUES = "lightning_tl_catalogues"


def about_now(cursor: Statements, name: str) -> About:
    """What stands in the table of catalogues; until the end of the transaction nobody puts others in their place.

    Raises:
        NoCatalogueError: there is none of this name.
    """
    found = _about(cursor, name)
    if found is None:
        raise NoCatalogueError(
            f"the database has no catalogue '{name}': make it with PostgresStore.create, or with: lightning-tl index "
            "build --store"
        )
    return found


def load(
    connection: PostgresConnection, name: str, items: NewItems, about: About, told: Callable[[int, int], None]
) -> None:
    """Write a whole catalogue beside the one that is searched, then put it in its place; see `PostgresStore.load`.

    Args:
        connection: to the database.
        name: of the catalogue.
        items: all of them.
        about: what it will be; its place is found here.
        told: is handed how many items are written, and of how many.
    """
    vectors = checked_rows(items, about, name)
    with connection.asking() as cursor:
        before = _about(cursor, name)
        now = None if before is None else before.place
        about = replace(about, place=place_of_load(name, fingerprint(items, vectors, about), now))
        _begin(cursor, name, about, now)
    for part in batches(len(items.ids)):
        with connection.asking() as cursor:
            there = held(cursor, about.place, [items.ids[k] for k in part])
            write(cursor, about, items, vectors, [k for k in part if items.ids[k] not in there])
        told(part.stop, len(items.ids))
    if about.graph:
        with connection.asking(unlimited=True) as cursor:
            make_graph(cursor, about)
    with connection.asking() as cursor:
        _put_in_place(cursor, name, about)


def write(cursor: Statements, about: About, items: NewItems, vectors: Vectors, places: Sequence[int]) -> None:
    """Add or change some items.

    Args:
        cursor: in a transaction.
        about: the catalogue.
        items: of which some are written.
        vectors: [items, dim].
        places: which.
    """
    titles = items.titles or [""] * len(items.ids)
    values = [(items.ids[k], titles[k], vectors[k], json.dumps(row_of(items.fields, k, about.columns))) for k in places]
    cursor.executemany(
        f"INSERT INTO {about.place} VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET title = excluded.title, "
        "vector = excluded.vector, fields = excluded.fields",
        values,
    )


def held(cursor: Statements, place: str, ids: Sequence[str]) -> set[str]:
    """Those of the ids that a table has."""
    cursor.execute(f"SELECT id FROM {place} WHERE id = ANY(%s)", (list(ids),))
    return {str(name) for (name,) in cursor.fetchall()}


def make_graph(cursor: Statements, about: About, m: int = 16, ef_construction: int = 64) -> None:
    """An index by HNSW, where there is none."""
    if not _has_graph(cursor, about.place):
        cursor.execute(
            f"CREATE INDEX ON {about.place} USING hnsw (vector vector_ip_ops) "
            f"WITH (m = {int(m)}, ef_construction = {int(ef_construction)})"
        )


def _about(cursor: Statements, name: str) -> About | None:
    cursor.execute("SELECT to_regclass(%s)", (_CATALOGUES,))
    if cursor.fetchone()[0] is None:
        return None
    cursor.execute("SELECT has_table_privilege(%s, 'UPDATE')", (_CATALOGUES,))
    kept = "FOR SHARE" if cursor.fetchone()[0] and not cursor.reads_only else ""
    cursor.execute(f"SELECT rows, dim, model_sha256, columns FROM {_CATALOGUES} WHERE name = %s {kept}", (name,))
    row = cursor.fetchone()
    if row is None:
        return None
    place, dim, model_sha256, columns = row
    return About(place=place, dim=dim, model_sha256=model_sha256, columns=columns, graph=_has_graph(cursor, place))


def _has_graph(cursor: Statements, place: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%% USING hnsw %%'", (place,))
    return cursor.fetchone() is not None


def _begin(cursor: Statements, name: str, about: About, now: str | None) -> None:
    """Make the table of a load where there is none yet, and drop those of other loads that came to nothing."""
    cursor.execute(
        f"CREATE TABLE IF NOT EXISTS {_CATALOGUES} (name text PRIMARY KEY, rows text, dim int, "
        "model_sha256 text, columns jsonb)"
    )
    cursor.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE %s", (f"{name}%",)
    )
    for (one,) in cursor.fetchall():
        if is_place_of(name, one) and one not in (about.place, now):
            cursor.execute(f"DROP TABLE IF EXISTS {one}")
    cursor.execute(
        f"CREATE TABLE IF NOT EXISTS {about.place} (id text PRIMARY KEY, title text, vector vector({int(about.dim)}), "
        "fields jsonb)"
    )


def _put_in_place(cursor: Statements, name: str, about: About) -> None:
    cursor.execute(f"SELECT rows FROM {_CATALOGUES} WHERE name = %s FOR UPDATE", (name,))
    before = cursor.fetchone()
    cursor.execute(
        f"INSERT INTO {_CATALOGUES} VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET rows = "
        "excluded.rows, dim = excluded.dim, model_sha256 = excluded.model_sha256, columns = excluded.columns",
        (name, about.place, about.dim, about.model_sha256, json.dumps(dict(about.columns))),
    )
    if before is not None and before[0] != about.place:
        cursor.execute(f"DROP TABLE IF EXISTS {before[0]}")
