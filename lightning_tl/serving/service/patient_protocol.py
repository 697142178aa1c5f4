"""`PatientProtocol`: connections whose requests do not begin in time, or begin with too much, are closed."""

from __future__ import annotations

import asyncio
from typing import Any, cast

_HEAD_BYTES = 65_536  # of the first line and the headers of one request


class PatientProtocol(asyncio.Protocol):
    """Bounds what uvicorn leaves open: how long the head of a request may take, and how long it may be.

    Without it a client that sends a header a minute, or nothing at all, holds a connection for good, and one that sends
    headers without end holds memory. Bodies have limits of their own, see `Bodies`.

    Args:
        inner: a protocol of uvicorn, which answers.
        limit_s: from the first byte of a head, or from the connection, to its end.
        head_bytes: most bytes of a head.
    """

    def __init__(self, inner: Any, limit_s: float, head_bytes: int = _HEAD_BYTES) -> None:
        self.inner, self.limit_s, self.head_bytes = inner, limit_s, head_bytes
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected, and has so long to ask."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's derive from nothing
        self.inner.connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A part of a head, of a body, or of several requests."""
        before = self.inner.cycle
        reads_head = before is None or before.response_complete
        if reads_head:
            self._bytes += len(data)
            self._wait()
        self.inner.data_received(data)
        if self.inner.cycle is not before:  # a head is complete
            self._rest()
        elif reads_head and self._bytes > self.head_bytes:
            self._refuse(431, f"the headers are longer than {self.head_bytes:,} bytes, the most that is read")

    def eof_received(self) -> None:
        """The other side sends no more."""
        self.inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """It is over."""
        self._rest()
        self.inner.connection_lost(error)

    def pause_writing(self) -> None:
        """The other side does not read."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self.inner.resume_writing()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.limit_s, self._late)

    def _rest(self) -> None:
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._bytes:
            self._refuse(408, f"the head of the request did not arrive within {self.limit_s:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, said: str) -> None:
        self._rest()
        if self.transport.is_closing():
            return
        phrase = {408: "Request Timeout", 431: "Request Header Fields Too Large"}[status]
        body = f'{{"error":"{said}"}}'.encode()
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()
