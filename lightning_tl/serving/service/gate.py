"""What every request passes: the token, the clock, and the rest of its body."""

from __future__ import annotations

import asyncio
import hmac
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightning_tl.serving.service.metrics import ServiceMetrics

OPEN = ("/", "/health", "/ready")
"""Paths that need no token: they tell nothing of models or data."""
OPEN_BELOW = "/page/"
LABEL = "lightning_tl.label"
"""Key of a request's scope under which its route puts endpoint and model, for the metrics."""

_DISCARDED_BYTES, _DISCARDED_S = 200_000_000, 5.0


class Gate:
    """Wraps the application.

    Where the answer is there before the whole body is, as for one that is too long, the rest is read and dropped, up to
    a limit: a client that still sends would see a broken connection in place of the answer.

    Args:
        app: what answers.
        metrics: told of every answer.
        token: what requests must bring as `Authorization: Bearer …`; None for none.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, token: str | None) -> None:
        self.app, self.metrics, self.token = app, metrics, token
        self.requests = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500
        headers = Headers(scope=scope)
        rest = int("content-length" in headers or "transfer-encoding" in headers)

        async def read() -> Message:
            nonlocal rest
            message = await receive()
            rest = int(message["type"] == "http.request" and message.get("more_body", False))
            return message

        async def write(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                late = status == 408  # what does not come is not waited for
                if rest and not late:
                    await _discard(receive)
                if self.draining or late:
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        self.requests += 1
        try:
            app = self.app if self._may_pass(scope["path"], headers) else _no_token
            await app(scope, read, write)
        finally:
            self.requests -= 1
            endpoint, model = scope.get(LABEL, ("other", ""))
            self.metrics.answered(endpoint, model, status, time.monotonic() - started)

    def _may_pass(self, path: str, headers: Headers) -> bool:
        if self.token is None or path in OPEN or path.startswith((OPEN_BELOW, "/admin/")):
            return True  # of the administrator's token the endpoint itself takes care
        return brings(headers, self.token)


def brings(headers: Headers, token: str) -> bool:
    """Whether a request has the right to be answered."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


async def _no_token(scope: Scope, receive: Receive, send: Send) -> None:
    said = {"error": "this service needs a token: send the header 'Authorization: Bearer TOKEN'"}
    await JSONResponse(said, 401, {"www-authenticate": "Bearer"})(scope, receive, send)


async def _discard(receive: Receive) -> None:
    """The rest of a body, up to a limit; what goes on beyond it ends with its connection."""
    left = _DISCARDED_BYTES
    try:
        async with asyncio.timeout(_DISCARDED_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
