"""A catalogue in a real PostgreSQL: the same items as exact search, filters in the query, swaps, and no answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pgserver
import pyarrow as pa
import pytest
from clustered_vectors import clustered
from ports import free_port

from lightning_tl.search import FaissStore, ItemFields, ItemFilter, ItemIndex, NewItems, VectorStore
from lightning_tl.search.stores.circuit import Circuit, UnreachableError
from lightning_tl.search.stores.postgres_store import PostgresStore

COUNT = 600
IDS = [f"i{k}" for k in range(COUNT)]
FIELDS = {
    "kind": [None if k % 11 == 0 else ("boat", "car", "bike")[k % 3] for k in range(COUNT)],
    "price": [None if k % 13 == 0 else k / 10 for k in range(COUNT)],
    "new": [k % 4 == 0 for k in range(COUNT)],
    "since": [f"2024-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(COUNT)],
    "tags": [["a"] if k % 2 else ["a", "b"] for k in range(COUNT)],
}
KINDS = {
    "kind": "texts",
    "price": "numbers",
    "new": "truth values",
    "since": "dates",
    "tags": "lists of texts",
}


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, with pgvector."""
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


def items(numbers: range = range(COUNT), seed: int = 0) -> NewItems:
    fields = {name: [values[k] for k in numbers] for name, values in FIELDS.items()}
    vectors = clustered(COUNT, seed)[list(numbers)]
    return NewItems(
        ids=[IDS[k] for k in numbers], vectors=vectors, titles=[IDS[k].upper() for k in numbers], fields=fields
    )


def filled(dsn: str, name: str) -> PostgresStore:
    store = PostgresStore.create(dsn, name, 16, "abc", KINDS)
    store.upsert(items())
    return store


@pytest.fixture(scope="module")
def exact() -> FaissStore:
    table = {**FIELDS, "since": pa.array(FIELDS["since"]).cast(pa.date32())}
    queries = clustered(20, 5)
    index = ItemIndex.build(clustered(COUNT, 0), IDS, IDS, "abc", queries, kind="FlatIP")
    index.fields = ItemFields(pa.table(table))
    return FaissStore(index)


FILTERS = [
    ItemFilter(),
    ItemFilter(deny=frozenset(IDS[:200])),
    ItemFilter(allow=frozenset(IDS[100:150]) | {"unknown"}),
    ItemFilter(where={"kind": "boat"}),
    ItemFilter(where={"kind": ["boat", "car"], "price": {"from": 10, "to": 40.5}}),
    ItemFilter(where={"price": [3, 4.5]}),
    ItemFilter(where={"new": True}, deny=frozenset(IDS[:40])),
    ItemFilter(where={"since": {"from": "2024-03-05", "to": "2024-06-01"}}),
    ItemFilter(where={"since": "2024-02-02"}),
    ItemFilter(where={"tags": "b"}),
]


@pytest.mark.parametrize("indexed", [False, True])
def test_the_same_items_as_exact_search_behind_every_filter(dsn: str, exact: FaissStore, indexed: bool) -> None:
    store = filled(dsn, f"same_{indexed}".lower())
    if indexed:
        store.make_index()
    assert isinstance(store, VectorStore) and len(store) == COUNT
    assert store.facts == {"kind": "pgvector", "items": COUNT, "dim": 16, "model_sha256": "abc"}
    for seed, wanted in enumerate(FILTERS):
        queries = clustered(2, 50 + seed)
        for k in (1, 100):
            found, expected = (one.search(queries, k, [wanted] * 2) for one in (store, exact))
            for mine, right in zip(found, expected, strict=True):
                assert len(mine.ids) == len(right.ids)
                if not indexed:
                    assert mine.ids == right.ids, wanted
                    np.testing.assert_allclose(mine.scores, right.scores, atol=1e-5)
                else:
                    assert len(set(mine.ids) & set(right.ids)) >= 0.9 * len(right.ids), wanted
    np.testing.assert_allclose(store.vectors(["i7", "i3"]), clustered(COUNT, 0)[[7, 3]], atol=1e-6)


def test_writing_twice_is_as_once_and_a_load_goes_on(dsn: str) -> None:
    store = PostgresStore.create(dsn, "load", 16, "abc", KINDS)
    store.upsert(items(range(250)))
    store.upsert(items(range(200, 300)))
    assert len(store) == 300 and store.missing(["i299", "i300", "i5"]) == ["i300"]
    again = PostgresStore(dsn, "load")
    changed = NewItems(ids=["i0"], vectors=clustered(1, 99), fields={"kind": ["boat"]})
    again.upsert(changed)
    assert len(store) == 300
    np.testing.assert_allclose(store.vectors(["i0"]), changed.vectors, atol=1e-6)
    assert store.search(changed.vectors, 1, [ItemFilter(where={"kind": "boat"})])[0].ids == ["i0"]
    assert store.remove(["i0", "i1", "never"]) == 2 and len(store) == 298


def test_a_swap_is_seen_whole(dsn: str) -> None:
    store, others = filled(dsn, "swapped"), PostgresStore(dsn, "swapped")
    query, ended, seen = clustered(1, 8), threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            try:
                seen.append(len(others.search(query, COUNT)[0].ids))
            except Exception as error:
                seen.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(12):
        store.swap(items(range(92 + number), seed=number), f"model {number}")
    ended.set()
    asking.join()
    assert len(seen) > 12 and set(seen) <= {COUNT, *range(92, 104)}, [one for one in seen if not isinstance(one, int)]
    assert others.facts == {"kind": "pgvector", "items": 103, "dim": 16, "model_sha256": "model 11"}
    with pytest.raises(ValueError, match="occurs more than once"):
        store.swap(NewItems(ids=["a", "a"], vectors=clustered(2, 0)), "never")
    assert len(store) == 103


def test_what_is_refused(dsn: str) -> None:
    store = filled(dsn, "refused")
    query = clustered(1, 0)
    cases = [
        (lambda: store.search(query, 0), "k must be at least 1"),
        (lambda: store.search(query[:, :3], 5), r"must be \[queries, 16\]"),
        (lambda: store.search(query * np.nan, 5), "is not finite"),
        (lambda: store.search(query, 5, [ItemFilter(where={"kinds": "boat"})]), "no column 'kinds'.*kind, new, price"),
        (lambda: store.search(query, 5, [ItemFilter(where={"price": "cheap"})]), "'price' is a column of numbers"),
        (lambda: store.search(query, 5, [ItemFilter(where={"price": 10**400})]), "it is too large"),
        (lambda: store.search(query, 5, [ItemFilter(where={"kind": "a\0b"})]), "cannot compare or keep this value"),
        (lambda: store.search(query, 5, [ItemFilter(deny=frozenset(["\ud800"]))]), "surrogates not allowed"),
        (lambda: store.vectors(["i1", "nobody"]), "no item 'nobody'"),
        (lambda: store.upsert(NewItems(ids=["x"], vectors=query, fields={"colour": ["red"]})), "no column 'colour'"),
        (lambda: store.upsert(NewItems(ids=["x"], vectors=2 * query)), "'x' is not of length 1"),
        (lambda: PostgresStore(dsn, "nothing"), "no catalogue 'nothing'"),
        (lambda: PostgresStore(dsn, "x; DROP TABLE y"), "small letters, digits and underscores"),
        (lambda: PostgresStore.create(dsn, "y", 3, "a", {"a": "bytes"}), "must hold one of texts"),
    ]
    for call, told in cases:
        with pytest.raises(ValueError, match=told):
            call()
    odd = "it's %s; DROP TABLE x --"
    assert store.search(query, 5, [ItemFilter(where={"kind": odd}, deny=frozenset([odd]))])[0].ids == []
    assert len(store) == COUNT


def test_nobody_answers() -> None:
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="the database of the catalogue x does not answer"):
        PostgresStore(f"postgresql://127.0.0.1:{free_port()}/x", "x", timeout_s=1)
    assert time.monotonic() - started < 5


def test_a_server_that_went_away_and_came_back(tmp_path: Path) -> None:
    server = pgserver.get_server(tmp_path / "data", cleanup_mode="stop")
    now = [0.0]
    circuit = Circuit("the store", failures=2, rest_s=5, clock=lambda: now[0])
    store = PostgresStore.create(server.get_uri(), "here", 16, "abc", KINDS, circuit=circuit, timeout_s=2)
    store.upsert(items(range(20)))
    server.cleanup()
    for _ in range(2):
        with pytest.raises(UnreachableError, match="the store does not answer"):
            len(store)
    with pytest.raises(UnreachableError, match=r"is asked again in 5\.0 s"):
        len(store)
    again = pgserver.get_server(tmp_path / "data", cleanup_mode="stop")
    now[0] = 6.0
    store.database.dsn = again.get_uri()
    assert len(store) == 20 and not circuit.is_open
    again.cleanup()


def test_a_statement_that_takes_too_long(dsn: str) -> None:
    store = filled(dsn, "slow")
    store.database.timeout_s = 0.05
    with pytest.raises(UnreachableError, match="statement timeout"), store.database.asking() as cursor:
        cursor.execute("SELECT pg_sleep(3)")
    store.database.timeout_s = 5
    assert len(store) == COUNT
