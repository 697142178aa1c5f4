"""A real PostgreSQL that does not answer, and what it alone refuses; the rest is in `test_stores.py`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pgserver
import pytest
from clustered_vectors import clustered
from ports import free_port, silent_port
from store_items import COUNT, KINDS, items

from lightning_tl.search import ItemFilter, NewItems
from lightning_tl.search.stores.circuit import Circuit, UnreachableError
from lightning_tl.search.stores.postgres_store import PostgresStore


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, with pgvector."""
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


def filled(dsn: str, name: str) -> PostgresStore:
    store = PostgresStore.create(dsn, name, 16, "abc", KINDS)
    store.upsert(items())
    return store


def test_a_text_that_the_database_cannot_keep(dsn: str) -> None:
    store, query = filled(dsn, "refused"), clustered(1, 0)
    for call in (
        lambda: store.search(query, 5, [ItemFilter(where={"kind": "a\0b"})]),
        lambda: store.upsert(NewItems(ids=["x"], vectors=query, fields={"kind": ["a\0b"]})),
    ):
        with pytest.raises(ValueError, match="cannot compare or keep this value"):
            call()
    assert len(store) == COUNT


def test_a_replica_and_a_role_that_may_only_read(dsn: str) -> None:
    """Neither may lock a row or make an extension; what they may not write is told."""
    whole = filled(dsn, "read_only")
    with whole.database.asking() as cursor:
        cursor.execute("CREATE ROLE reader LOGIN")
        cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    for address, told in (
        (f"{dsn}&options=-c%20default_transaction_read_only%3Don", "read-only transaction"),
        (dsn.replace("//postgres:", "//reader:"), "permission denied"),
    ):
        store = PostgresStore(address, "read_only", model_sha256="abc")
        assert len(store.search(clustered(1, 0), 5)[0].ids) == 5 and store.known(["i1"]) == [True]
        with pytest.raises(ValueError, match=f"the database does not take this: .*{told}"):
            store.remove(["i1"])
        store.database.circuit.name = "the catalogue"
        whole.swap(items(range(30)), "abc")
        store.close()
        told = "the catalogue was given other tables just now"
        with pytest.raises(UnreachableError, match=told), store.database.asking() as cursor:
            cursor.execute("SELECT * FROM read_only__gone")
        with whole.database.asking() as cursor:
            cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")


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


def test_a_server_that_says_nothing_any_more(tmp_path: Path) -> None:
    """One that is stopped does not mind its own limit."""
    server = pgserver.get_server(tmp_path / "data", cleanup_mode="stop")
    store = filled(server.get_uri(), "silent")
    store.database.timeout_s = 1
    with store.database.asking() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        process = cursor.fetchone()[0]
    started = time.monotonic()
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(UnreachableError, match="the database of the catalogue silent does not answer"):
            len(store)
        assert time.monotonic() - started < 4
        assert len(store) == COUNT  # by another connection
    finally:
        os.kill(process, signal.SIGCONT)
        server.cleanup()


def test_an_address_where_nobody_says_a_word() -> None:
    started = time.monotonic()
    with silent_port() as port, pytest.raises(UnreachableError, match="the database of the catalogue x does not"):
        PostgresStore(f"postgresql://127.0.0.1:{port}/x", "x", timeout_s=2)
    assert time.monotonic() - started < 5
