"""Clients that speak HTTP badly, slowly or not to the end; for `attack_service.py`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ANSWERED, CUT, SILENT = "answered", "cut off", "still open"


@dataclass(frozen=True)
class OddClient:
    """What is sent, byte by byte, and which ends are right.

    Args:
        name: in a few words.
        parts: of what is sent; a number is a pause in seconds.
        statuses: that may be answered; an empty set where the connection may only be cut off.
        cut: whether it may be cut off without an answer.
        leaves: whether it goes without waiting for one.
    """

    name: str
    parts: Callable[[], Iterator[bytes | float]]
    statuses: frozenset[int]
    cut: bool = True
    leaves: bool = False

    def attack(self, port: int, patience_s: float) -> tuple[str, list[int]]:
        """What came of it, and the statuses of all answers.

        Args:
            port: of the service.
            patience_s: how long an answer or an end is waited for.
        """
        with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as found:
            try:
                for part in self.parts():
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        found.sendall(part)
            except OSError:
                pass  # it was cut off while it sent; what was answered may still be there
            if self.leaves:
                return CUT, []
            return _read(found, patience_s)

    def is_right(self, end: str, statuses: list[int]) -> bool:
        """Whether the service may do that."""
        if end == SILENT or not set(statuses) <= self.statuses:
            return False
        return bool(statuses) or self.cut


def _read(found: socket.socket, patience_s: float) -> tuple[str, list[int]]:
    """Everything until the other side ends, or nothing comes for a second after an answer."""
    got, ends, end = b"", time.monotonic() + patience_s, SILENT
    try:
        while time.monotonic() < ends:
            found.settimeout(1.0 if b"HTTP/1.1 " in got else max(0.1, ends - time.monotonic()))
            part = found.recv(65536)
            if not part:
                end = CUT
                break
            got += part
    except TimeoutError:
        pass
    except OSError:
        end = CUT
    statuses = [int(piece[:3]) for piece in got.split(b"HTTP/1.1 ")[1:]]
    return (ANSWERED if statuses else end), statuses


def odd_clients(path: str, kind: str, body: bytes, drip_s: float) -> list[OddClient]:
    """All of them.

    Args:
        path: that takes a POST.
        kind: content type that it takes.
        body: that it answers with 200.
        drip_s: how long the slow ones are slow.
    """
    start = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n".encode()
    whole = start + b"content-length: %d\r\n\r\n" % len(body) + body
    bad, done = frozenset({400, 408, 413, 422, 431}), frozenset({200})

    def sent(*parts: bytes | float) -> Callable[[], Iterator[bytes | float]]:
        return lambda: iter(parts)

    def drips(text: bytes) -> Callable[[], Iterator[bytes | float]]:
        def made() -> Iterator[bytes | float]:
            for place in range(len(text)):
                yield text[place : place + 1]
                yield drip_s / len(text)

        return made

    def headers(count: int) -> bytes:
        return start + b"".join(b"x-%d: y\r\n" % number for number in range(count)) + b"\r\n"

    def endless() -> Iterator[bytes | float]:
        yield start + b"transfer-encoding: chunked\r\n\r\n"
        for _ in range(400):
            yield b"10000\r\n" + bytes(0x10000) + b"\r\n"

    def trickle() -> Iterator[bytes | float]:
        yield start + b"transfer-encoding: chunked\r\n\r\n"
        for _ in range(40):
            yield b"1\r\n \r\n"
            yield drip_s / 40

    two = b"content-length: %d\r\ncontent-length: 3\r\n\r\n" % len(body)
    upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: A\r\n\r\n"
    both = b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    return [
        OddClient("a proper request", sent(whole), done, cut=False),
        OddClient("garbage for a length", sent(start + b"content-length: many\r\n\r\n" + body), bad),
        OddClient("a negative length", sent(start + b"content-length: -1\r\n\r\n" + body), bad),
        OddClient("a length of 30 digits", sent(start + b"content-length: " + b"9" * 30 + b"\r\n\r\n" + body), bad),
        OddClient("two lengths", sent(start + two + body), bad),
        OddClient("a length and chunks", sent(start + both), bad),
        OddClient("chunks of no size", sent(start + b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n"), bad),
        OddClient("chunks without end", endless, bad),
        OddClient("chunks that trickle", trickle, bad),
        OddClient("headers that drip", drips(start), bad),
        OddClient("nothing at all", sent(drip_s), bad),
        OddClient("10,000 headers", sent(headers(10_000)), bad),
        OddClient("a header of a megabyte", sent(start + b"x: " + b"y" * 1_000_000 + b"\r\n\r\n"), bad),
        OddClient(
            "a path of a megabyte",
            sent(b"GET /" + b"y" * 1_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"),
            bad | {404, 414},
        ),
        OddClient("a body shorter than said", sent(start + b"content-length: 100000\r\n\r\n" + body), bad),
        OddClient("a body that drips", drips(whole), bad | done),
        OddClient("five requests at once", sent(whole * 5), done, cut=False),
        OddClient("a request and garbage", sent(whole + b"\0\1\2 garbage\r\n\r\n"), bad | done, cut=False),
        OddClient("no HTTP", sent(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)), bad),
        OddClient("no host", sent(b"GET /health HTTP/1.1\r\n\r\n"), bad | done),
        OddClient("a null in the path", sent(b"GET /a\0b HTTP/1.1\r\nhost: x\r\n\r\n"), bad | {404}),
        OddClient(
            "a path out of the folder",
            sent(b"GET /page/../../../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n"),
            bad | {404},
        ),
        OddClient("another method", sent(b"BREW / HTTP/1.1\r\nhost: x\r\n\r\n"), bad | {405}),
        OddClient(
            "an upgrade",
            sent(upgrade),
            bad | {200, 403, 404, 426},
        ),
        OddClient("it leaves in the middle", sent(start + b"content-length: 100000\r\n\r\n" + body), bad, leaves=True),
        OddClient("it leaves before the answer", sent(whole), done, leaves=True),
        OddClient(
            "it asks to be told to go on",
            sent(start + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body), 0.2, body),
            bad | done | {100},
        ),
    ]
