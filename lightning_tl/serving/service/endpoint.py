"""One path of the service: who answers it, and how it is described."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lightning_tl.serving.service.gate import LABEL

JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A method and a path.

    Args:
        method: GET or POST.
        path: as Starlette writes it.
        summary: in a few words.
        handle: what answers; a form becomes JSON.
        answers: form of a good answer, or its media type.
        label: endpoint and model, for the metrics.
        body: content type → schema of what is read, and examples; forms stand for their schemas.
        parameters: of path and query, as OpenAPI writes them.
        refusals: statuses other than 200 that are to be expected.
        needs_token: whether a token is asked for where the service has one.
    """

    method: str
    path: str
    summary: str
    handle: Callable[[Request], Awaitable[BaseModel | Response]]
    answers: type[BaseModel] | str
    label: tuple[str, str]
    body: Mapping[str, type[BaseModel] | Mapping[str, Any]] = field(default_factory=dict)
    parameters: Sequence[Mapping[str, Any]] = ()
    refusals: Sequence[int] = ()
    needs_token: bool = True

    def route(self) -> Route:
        """As Starlette takes it."""

        async def answer(request: Request) -> Response:
            request.scope[LABEL] = self.label
            found = await self.handle(request)
            if isinstance(found, Response):
                return found
            return Response(found.model_dump_json(exclude_none=True), media_type=JSON)

        return Route(self.path, answer, methods=[self.method])
