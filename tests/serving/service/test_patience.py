"""Clients that ask slowly, or with too much, are told and cut off; those that ask as they should are not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from served_models import ColourModel, png, running, service_of

DEADLINE_S = 0.6
HEAD = b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(png()) + png()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(service_of(("m", ColourModel()), deadline_s=DEADLINE_S)) as address:
        yield int(address.rpartition(":")[2])


def said(port: int, *parts: bytes | float) -> str:
    """All that is answered until the connection is closed; fails where it stays open."""
    with socket.create_connection(("127.0.0.1", port), timeout=5 * DEADLINE_S) as found:
        for part in parts:
            if isinstance(part, float):
                time.sleep(part)
            else:
                found.sendall(part)
        got = b""
        while part := found.recv(65536):
            got += part
    return got.decode()


def test_nothing_is_asked(port: int) -> None:
    assert said(port) == ""


def test_a_head_that_does_not_end(port: int) -> None:
    answer = said(port, HEAD)
    assert answer.startswith("HTTP/1.1 408 ") and "did not arrive within 0.6 s" in answer
    drips = [part for place in range(0, 40, 8) for part in (HEAD[place : place + 8], 0.08)]
    assert said(port, *drips).startswith("HTTP/1.1 408 ")


def test_a_second_head_that_does_not_end(port: int) -> None:
    answers = said(port, WHOLE, 0.2, HEAD)
    assert answers.startswith("HTTP/1.1 200 ") and "HTTP/1.1 408 " in answers


@pytest.mark.parametrize("start", [b"GET /" + b"y" * 100_000, HEAD + b"x: " + b"y" * 100_000])
def test_a_head_that_is_too_long(port: int, start: bytes) -> None:
    status = int(said(port, start).split()[1])
    assert status in (400, 431), "the one of h11 itself, or ours"


@pytest.mark.parametrize("body", [b"content-length: 1000\r\n\r\nabc", b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"])
def test_a_body_that_does_not_end(port: int, body: bytes) -> None:
    """408 and not 504: it is the client that is late. The connection stays open, as HTTP has it, and then ends."""
    answer = said(port, HEAD + b"connection: close\r\n" + body)
    assert answer.startswith("HTTP/1.1 408 ") and "the body did not arrive" in answer


def test_whoever_asks_as_one_should_is_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as found:
        for _ in range(4):  # longer than the deadline in all
            found.sendall(WHOLE[:50])
            time.sleep(0.2)
            found.sendall(WHOLE[50:])
            assert found.recv(65536).startswith(b"HTTP/1.1 200 ")
