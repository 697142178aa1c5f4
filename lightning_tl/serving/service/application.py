"""The service as an ASGI application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from lightning_tl.serving.answering import BadInputError, UnavailableError
from lightning_tl.serving.service.administration import Administration
from lightning_tl.serving.service.batcher import QueueFullError
from lightning_tl.serving.service.endpoint import Endpoint
from lightning_tl.serving.service.endpoints import Answers
from lightning_tl.serving.service.gate import Gate
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.model_endpoints import endpoints_of
from lightning_tl.serving.service.openapi import describe
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.settings import ServiceSettings

_AGAIN_S = "5"  # after which what does not answer may do so
PAGE = Path(__file__).parents[1] / "page"


class Service:
    """Models that answer over HTTP.

    Args:
        models: with names that differ; where there is one, its paths are there without its name as well.
        settings: limits.
        metrics: told of every answer and batch.
        token: what requests must bring as `Authorization: Bearer …`; None for none.
        admin_token: what `/admin/reload` must bring; None closes it.

    Raises:
        ValueError: two models of one name, or a name that is a path of the service.
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        settings: ServiceSettings,
        metrics: ServiceMetrics,
        token: str | None = None,
        admin_token: str | None = None,
    ) -> None:
        self.models: Mapping[str, ServedModel] = {model.name: model for model in models}
        if len(self.models) < len(models):
            raise ValueError(f"models need names that differ, got {', '.join(model.name for model in models)}")
        self.settings = settings
        metrics.watch(self.models)
        self.administration = Administration(self.models, metrics, admin_token)
        answers = Answers(settings)
        endpoints = [one for model in models for one in endpoints_of(model, answers, prefix=f"/{model.name}")]
        if len(models) == 1:
            endpoints += endpoints_of(models[0], answers, prefix="")
        endpoints += self.administration.endpoints({one.path for one in endpoints})
        description = describe(endpoints, token is not None)
        endpoints.append(_described(description, endpoints[0]))
        self.paths = [one.path for one in endpoints]
        app = Starlette(
            routes=[*(one.route() for one in endpoints), Mount("/page", StaticFiles(directory=PAGE))],
            exception_handlers={
                BadInputError: _bad_input,
                QueueFullError: _queue_full,
                UnavailableError: _unavailable,
                TimeoutError: _timeout,
                ClientDisconnect: _gone,
                HTTPException: self._http,
                Exception: _defect,
            },
        )
        app.router.redirect_slashes = False
        self.gate = Gate(app, metrics, token)
        self.administration.gate = self.gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        await self.gate(scope, receive, send)

    def close(self) -> None:
        """Compute what waits, then end the models."""
        for model in self.models.values():
            model.close()

    def _http(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path, said = request.url.path, str(error.detail)
        if error.status_code == 404:
            said = f"there is no path '{path[:80]}'; there are: {', '.join(dict.fromkeys(self.paths))}"
        if error.status_code == 405:
            said = f"{path[:80]} does not take {request.method[:20]}, but {(error.headers or {}).get('Allow', 'GET')}"
        return JSONResponse({"error": said}, error.status_code, error.headers)


def _described(description: Mapping[str, object], pattern: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        return JSONResponse(description)

    return replace(
        pattern,
        method="GET",
        path="/openapi.json",
        summary="this description",
        handle=answer,
        label=("openapi", ""),
        body={},
        parameters=(),
    )


def _bad_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadInputError)
    return JSONResponse({"error": str(error)}, error.status)


def _queue_full(request: Request, error: Exception) -> Response:
    assert isinstance(error, QueueFullError)
    return JSONResponse({"error": str(error)}, 503, {"retry-after": str(error.retry_after_s)})


def _unavailable(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503, {"retry-after": _AGAIN_S})


def _timeout(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "no answer within the deadline: ask again, or for less at a time"}, 504)


def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


def _defect(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "this should not happen; the service's log says more"}, 500)  # which uvicorn writes
