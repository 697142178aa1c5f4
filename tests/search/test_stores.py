"""What every store of vectors promises, tried on each of them: the same items, filters, writing and refusals."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pgserver
import pytest
from clustered_vectors import clustered
from store_items import COUNT, FILTERS, IDS, KINDS, REFUSED, exact_store, items

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

from edge_qdrant import server_of

from lightning_tl.search import FaissStore, ItemFilter, NewItems, VectorStore
from lightning_tl.search.stores.about import OtherModelError
from lightning_tl.search.stores.circuit import Circuit
from lightning_tl.search.stores.postgres_store import PostgresStore
from lightning_tl.search.stores.qdrant_connection import QdrantConnection
from lightning_tl.search.stores.qdrant_store import QdrantStore
from lightning_tl.search.stores.rows import batches
from lightning_tl.search.vector_store import Catalogue, UnknownItemError

Stored = PostgresStore | QdrantStore


class Places:
    """Where stores of one kind lie, and how they are made and opened there."""

    def __init__(self, kind: str, place: Any) -> None:
        self.kind, self.place = kind, place
        self.store: type[Stored] = PostgresStore if kind == "postgres" else QdrantStore

    def create(self, name: str, *more: Any) -> Stored:
        return self.store.create(self.place, name, 16, "abc", *more)

    def filled(self, name: str) -> Stored:
        store = self.create(name, KINDS)
        store.upsert(items())
        return store

    def opened(self, name: str, **options: Any) -> Stored:
        return self.store(self.place, name, **options)

    def load(self, name: str, wanted: NewItems, model: str = "abc", **options: Any) -> Stored:
        return self.store.load(self.place, name, wanted, model, KINDS, **options)


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, with pgvector."""
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Qdrant's own engine, by HTTP."""
    server = server_of(tmp_path_factory.mktemp("edge"), api_key="key")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module", params=["qdrant", "engine", "postgres"])
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    """The client's own search, Qdrant's engine as a cluster is asked, and a database."""
    if request.param == "postgres":
        yield Places("postgres", request.getfixturevalue("dsn"))
        return
    if request.param == "engine":
        connection = QdrantConnection(request.getfixturevalue("engine"), "key", 5.0, Circuit("the Qdrant"))
        yield Places("engine", connection)
        connection.close()
        return
    connection = QdrantConnection(":memory:", None, 5.0, Circuit("the Qdrant"))
    yield Places("qdrant", connection)
    connection.close()


@pytest.fixture(scope="module")
def exact() -> FaissStore:
    return exact_store()


@pytest.fixture(scope="module")
def whole(places: Places) -> Stored:
    """A catalogue that is not changed."""
    return places.filled("whole")


@pytest.fixture(scope="module", params=["exact", "graph"])
def searched(request: pytest.FixtureRequest, places: Places, whole: Stored) -> tuple[Stored, bool]:
    if request.param == "exact":
        return whole, True
    store = places.filled("with_graph")
    store.make_index()
    return store, places.kind == "qdrant"  # whose client keeps no graph by itself


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_the_same_items_as_exact_search(searched: tuple[Stored, bool], exact: FaissStore, number: int) -> None:
    (store, all_of_them), wanted = searched, FILTERS[number]
    queries = clustered(2, 50 + number)
    for k in (1, 100):
        found, expected = (one.search(queries, k, [wanted] * 2) for one in (store, exact))
        for mine, right in zip(found, expected, strict=True):
            assert len(mine.ids) == len(right.ids)
            if all_of_them:
                assert mine.ids == right.ids
                np.testing.assert_allclose(mine.scores, right.scores, atol=1e-5)
            else:
                assert len(set(mine.ids) & set(right.ids)) >= 0.9 * len(right.ids)
    left = exact.allowed(wanted)
    assert set(store.allowed(wanted)) == set(left)
    assert len(set(store.allowed(wanted, 7)) & set(left)) == min(7, len(left))


def test_filters_may_differ_from_query_to_query(whole: Stored, exact: FaissStore) -> None:
    assert len(FILTERS) > 16  # more than are asked at a time
    queries = clustered(len(FILTERS), 3)
    found, right = (store.search(queries, 30, FILTERS) for store in (whole, exact))
    assert [one.ids for one in found] == [one.ids for one in right]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_filters_that_are_refused(whole: Stored, exact: FaissStore, number: int) -> None:
    wanted, told = REFUSED[number]
    for store in (whole, exact):
        with pytest.raises(ValueError, match=told):
            store.search(clustered(1, 0), 5, [wanted])


def test_what_is_known_of_items(whole: Stored) -> None:
    assert isinstance(whole, VectorStore) and isinstance(whole, Catalogue) and len(whole) == COUNT
    kind = "Qdrant" if isinstance(whole, QdrantStore) else "pgvector"
    assert whole.facts == {"kind": kind, "items": COUNT, "dim": 16, "model_sha256": "abc"}
    np.testing.assert_allclose(whole.vectors(["i7", "i3", "i7"]), clustered(COUNT, 0)[[7, 3, 7]], atol=1e-6)
    assert whole.titles(["i7", "i3"]) == ["I7", "I3"] and whole.vectors([]).shape == (0, 16)
    assert whole.known(["i7", "never", "i7"]) == [True, False, True] and whole.missing(["x", "i1"]) == ["x"]
    for ask in (whole.vectors, whole.titles):
        with pytest.raises(UnknownItemError, match="no item 'nobody'"):
            ask(["i1", "nobody"])


def test_numbers_of_items(whole: Stored, exact: FaissStore) -> None:
    for column in ("price", "new", "od.d [0]"):
        np.testing.assert_array_equal(whole.values(column, IDS[10:30]), exact.values(column, IDS[10:30]))
        assert whole.span(column) == exact.span(column)
    for store in (whole, exact):
        for column, told in (
            ("kind", "'kind' is a column of texts; numbers"),
            ("x", "no column 'x' to boost by; it has"),
        ):
            for ask in (lambda: store.span(column), lambda: store.values(column, ["i1"])):  # noqa: B023
                with pytest.raises(ValueError, match=told):
                    ask()


def test_a_catalogue_without_numbers(places: Places) -> None:
    store = places.create("bare", KINDS)
    store.upsert(NewItems(ids=["a"], vectors=clustered(1, 0)))
    for column in ("price", "new"):
        assert np.isnan(store.span(column)).all() and np.isnan(store.values(column, ["a"])).all()


def test_writing_twice_is_as_once(places: Places) -> None:
    store = places.create("twice", KINDS)
    store.upsert(items(range(250)))
    store.upsert(items(range(200, 300)))
    assert len(store) == 300 and store.missing(["i299", "i300", "i5"]) == ["i300"]
    again = places.opened("twice")
    changed = NewItems(ids=["i0"], vectors=clustered(1, 99), fields={"kind": ["boat"]})
    again.upsert(changed)
    assert len(store) == 300 and store.titles(["i0"]) == [""]
    np.testing.assert_allclose(store.vectors(["i0"]), changed.vectors, atol=1e-6)
    for where, ids in (({"kind": "boat"}, ["i0"]), ({"new": True}, [])):
        allowed = [ItemFilter(where=where, allow=frozenset(["i0"]))]
        assert store.search(changed.vectors, 1, allowed)[0].ids == ids
    assert store.remove(["i0", "i1", "never", "i1"]) == 2 and len(store) == 298
    store.upsert(NewItems(ids=[], vectors=clustered(1, 0)[:0]))
    assert store.remove([]) == 0 and len(store) == 298


def test_a_load_that_was_stopped_goes_on_and_is_seen_whole(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_tl.search.stores.rows.AT_ONCE", 100)
    store = places.load("loaded", items(range(50)))
    written: list[int] = []

    def stop(done: int, count: int) -> None:
        if done == 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        places.load("loaded", items(seed=1), "new", told=stop)
    assert len(store) == 50 and store.facts["model_sha256"] == "abc"
    counted(monkeypatch, places, written)
    places.load("loaded", items(seed=1), "new", told=lambda done, count: None)
    assert sum(written) == 300
    assert len(store) == COUNT and store.facts["model_sha256"] == "new"
    np.testing.assert_allclose(store.vectors(["i599"]), clustered(COUNT, 1)[[599]], atol=1e-6)


def counted(monkeypatch: pytest.MonkeyPatch, places: Places, written: list[int]) -> None:
    """How many items are written, batch by batch."""
    module = "postgres_tables" if places.kind == "postgres" else "qdrant_collections"
    name = f"lightning_tl.search.stores.{module}.write"
    write: Callable[..., None] = __import__(name.rpartition(".")[0], fromlist=["write"]).write

    def count(*arguments: Any) -> None:
        written.append(len(arguments[-1]))
        write(*arguments)

    monkeypatch.setattr(name, count)


def test_the_same_items_again_undo_what_changed_since(places: Places) -> None:
    store = places.load("again", items(range(40)))
    for _ in range(3):
        store.upsert(NewItems(ids=["i1", "more"], vectors=clustered(2, 5), titles=["other", "more"]))
        store.remove(["i2"])
        store = places.load("again", items(range(40)))
        assert len(store) == 40 and store.titles(["i1", "i2"]) == ["I1", "I2"]


def test_a_swap_is_seen_whole(places: Places) -> None:
    store, others = places.filled("swapped"), places.opened("swapped")
    query, ended, seen = clustered(1, 8), threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            try:
                seen.append(len(others.search(query, COUNT)[0].ids))
            except Exception as error:
                seen.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(8):
        store.swap(items(range(92 + number), seed=number), f"model {number}")
    ended.set()
    asking.join()
    assert len(seen) > 8 and set(seen) <= {COUNT, *range(92, 100)}, [one for one in seen if not isinstance(one, int)]
    assert {**others.facts, "kind": ""} == {"kind": "", "items": 99, "dim": 16, "model_sha256": "model 7"}
    with pytest.raises(ValueError, match="occurs more than once"):
        store.swap(NewItems(ids=["a", "a"], vectors=clustered(2, 0)), "never")
    assert len(store) == 99


def test_another_model_is_refused_whenever_it_comes(places: Places) -> None:
    store = places.load("models", items(range(20)))
    with pytest.raises(OtherModelError, match=r"vectors of another model \(hash abc\) than this one \(hash def"):
        places.opened("models", model_sha256="def")
    mine = places.opened("models", model_sha256="abc")
    assert len(mine) == 20
    store.swap(items(range(10)), "def")
    for ask in (lambda: len(mine), lambda: mine.search(clustered(1, 0), 3), lambda: mine.upsert(items(range(3)))):
        with pytest.raises(OtherModelError, match="hash def"):
            ask()
    assert len(store) == 10


def test_what_is_refused(places: Places, whole: Stored) -> None:
    query = clustered(1, 0)
    new: Callable[..., NewItems] = lambda **more: NewItems(**{"ids": ["x"], "vectors": query} | more)  # noqa: E731
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: whole.search(query, 0), "k must be at least 1"),
        (lambda: whole.search(query[:, :3], 5), r"must be \[queries, 16\]"),
        (lambda: whole.search(query * np.nan, 5), "is not finite"),
        (lambda: whole.search(query, 5, [ItemFilter(deny=frozenset(["\ud800"]))]), "surrogates not allowed"),
        (lambda: whole.upsert(new(fields={"colour": ["red"]})), "no column 'colour'"),
        (lambda: whole.upsert(new(vectors=2 * query)), "'x' is not of length 1"),
        (lambda: whole.upsert(new(fields={"price": ["dear"]})), "'price' is a column of numbers"),
        (lambda: whole.upsert(new(fields={"price": [float("inf")]})), "'price' is to hold an infinite number"),
        (lambda: whole.upsert(new(ids=["x", "x"], vectors=query.repeat(2, 0))), "occurs more than once"),
        (lambda: places.opened("nothing"), "no catalogue 'nothing'"),
        (lambda: places.opened("x; DROP TABLE y"), "small letters, digits and underscores"),
        (lambda: places.create("y", {"a": "bytes"}), "must hold one of texts"),
    ]
    for call, told in cases:
        with pytest.raises(ValueError, match=told):
            call()
    assert len(whole) == COUNT and IDS[5] in whole.allowed(ItemFilter())


@pytest.mark.parametrize(
    ("count", "dim", "sizes"),
    [(0, 8, []), (2_500, 128, [1_000, 1_000, 500]), (700, 3_072, [325, 325, 50]), (2, 5_000_000, [1, 1])],
)
def test_batches_of_long_vectors_have_fewer_items(count: int, dim: int, sizes: list[int]) -> None:
    assert [len(part) for part in batches(count, dim)] == sizes
