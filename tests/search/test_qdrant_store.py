"""A Qdrant that does not answer, refuses or is none, and its client's own folder; the rest is in `test_stores.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from clustered_vectors import clustered
from ports import free_port, silent_port
from store_items import COUNT, KINDS, items

from lightning_tl.search.stores.circuit import Circuit, UnreachableError
from lightning_tl.search.stores.qdrant_store import QdrantStore

TOLD = "the Qdrant of the catalogue x does not answer: "


@contextmanager
def saying(status: int, body: bytes) -> Iterator[str]:
    """A server that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_nobody_answers() -> None:
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=TOLD + ".*refused"):
        QdrantStore(f"http://127.0.0.1:{free_port()}", "x", timeout_s=1)
    assert time.monotonic() - started < 5


def test_an_address_where_nobody_says_a_word() -> None:
    started = time.monotonic()
    with silent_port() as port, pytest.raises(UnreachableError, match=TOLD + "no answer in time"):
        QdrantStore(f"http://127.0.0.1:{port}", "x", timeout_s=1)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, b'{"status": {"error": "disk is full"}}', "status 500, disk is full"),
        (503, b"<html>busy</html>", "status 503, Service Unavailable"),
        (429, b'{"status": {"error": "slower"}}', "status 429, slower"),
        (403, b"forbidden", r"it refuses the key \(403\): put the right one into QDRANT_API_KEY"),
        (200, b'{"hello": "I am another program"}', "what answers there is no Qdrant"),
        (200, b"<html>", "what answers there is no Qdrant"),
    ],
)
def test_a_server_that_is_of_no_use(status: int, body: bytes, told: str) -> None:
    with saying(status, body) as address, pytest.raises(UnreachableError, match=TOLD + told):
        QdrantStore(address, "x")


def test_a_server_without_this_catalogue() -> None:
    said = b'{"status": {"error": "Not found: Collection `x` does not exist!"}, "time": 0.1}'
    with saying(404, said) as address, pytest.raises(ValueError, match="Qdrant has no catalogue 'x'"):
        QdrantStore(address, "x")


def test_after_failures_nothing_is_asked_for_a_while() -> None:
    now, circuit = [0.0], Circuit("the store", failures=2, rest_s=5, clock=lambda: now[0])
    address = f"http://127.0.0.1:{free_port()}"
    for _ in range(2):
        with pytest.raises(UnreachableError, match="the store does not answer"):
            QdrantStore(address, "x", circuit=circuit)
    with pytest.raises(UnreachableError, match=r"is asked again in 5\.0 s"):
        QdrantStore(address, "x", circuit=circuit)
    now[0] = 6.0
    with pytest.raises(UnreachableError, match="refused"):
        QdrantStore(address, "x", circuit=circuit)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the client leaves its lock open
def test_a_folder_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "qdrant")
    store = QdrantStore.load(folder, "films", items(range(50)), "abc", KINDS)
    with pytest.raises(OSError, match=r"cannot be opened by Qdrant's client: .*already accessed"):
        QdrantStore(folder, "films")
    store.close()
    again = QdrantStore(folder, "films", model_sha256="abc")
    assert len(again) == 50 and again.search(clustered(COUNT, 0)[:1], 1)[0].ids == ["i0"]
    asking = threading.Thread(target=lambda: again.remove(["i0"]))
    asking.start()
    asking.join()
    assert len(again) == 49
    again.close()
