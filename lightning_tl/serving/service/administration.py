"""What is asked of the service rather than of a model."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from lightning_tl.serving.answering import BadInputError
from lightning_tl.serving.service.endpoint import Endpoint
from lightning_tl.serving.service.endpoints import known_parameters
from lightning_tl.serving.service.forms import Models, ModelSaid, Reloaded, ReloadedModels, State
from lightning_tl.serving.service.gate import Gate, brings
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.readiness import Readiness
from lightning_tl.serving.service.served_model import ServedModel

ADMIN_TOKEN = "LIGHTNING_TL_ADMIN_TOKEN"
"""Environment variable with what `/admin/reload` must bring."""

_PAGE = Path(__file__).parents[1] / "page" / "index.html"
_ONLY_OWN = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'"
_LOG = logging.getLogger("lightning_tl.serving")


class Administration:
    """Health, metrics, models, reloads and the page.

    Args:
        models: by name.
        metrics: what is told.
        admin_token: what a reload must bring; None closes it.
    """

    gate: Gate

    def __init__(self, models: Mapping[str, ServedModel], metrics: ServiceMetrics, admin_token: str | None) -> None:
        self.models, self.metrics, self.admin_token = models, metrics, admin_token
        self.readiness = Readiness(models)

    def endpoints(self, paths: set[str]) -> list[Endpoint]:
        """All of them.

        Args:
            paths: of the models.
        """
        self.model_paths = sorted(paths)
        reload = Endpoint(
            method="POST",
            path="/admin/reload",
            summary="read the models' files anew",
            handle=self.reload,
            answers=ReloadedModels,
            label=("reload", ""),
            parameters=({"name": "model", "in": "query", "schema": {"type": "string"}},),
            refusals=(401, 403, 404, 409, 422),
            needs_token=False,
        )
        return [
            _get("/", "a page for people", self.page, "text/html", open_to_all=True),
            _get("/health", "whether it lives", self.health, State, open_to_all=True),
            _get("/ready", "whether it takes requests", self.ready, State, (503,), open_to_all=True),
            _get("/metrics", "counts and times, for Prometheus", self.told, "text/plain"),
            _get("/models", "which models answer, and what they are", self.all_models, Models),
            reload,
        ]

    async def page(self, request: Request) -> Response:
        """The page, which loads nothing from elsewhere."""
        return FileResponse(_PAGE, headers={"content-security-policy": _ONLY_OWN, "cache-control": "no-cache"})

    async def health(self, request: Request) -> State:
        """It answers, so it lives."""
        return State(status="alive")

    async def ready(self, request: Request) -> State | Response:
        """503 once it was told to end, and while a store that a model searches does not answer."""
        if self.gate.draining:
            return JSONResponse({"error": "the service is about to end"}, 503)
        if trouble := await self.readiness.trouble():
            return JSONResponse({"error": trouble}, 503)
        return State(status="ready")

    async def told(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def all_models(self, request: Request) -> Models:
        """What each is."""
        return Models(models=[self._said(served) for served in self.models.values()])

    def _said(self, served: ServedModel) -> ModelSaid:
        facts = served.now.facts
        alone = len(self.models) == 1
        return ModelSaid(
            model=served.name,
            version=facts.version,
            kind=facts.kind,
            task=facts.task,
            class_names=list(facts.class_names),
            reads=dict(facts.reads),
            card=dict(facts.card),
            paths=[path for path in self.model_paths if path.startswith(f"/{served.name}/") or alone],
        )

    async def reload(self, request: Request) -> ReloadedModels | Response:
        """One model, or all; those that cannot be reloaded go on as they are."""
        if self.admin_token is None:
            raise BadInputError(
                f"reloading is closed: start the service with the environment variable {ADMIN_TOKEN}", 403
            )
        if not brings(request.headers, self.admin_token):
            said = {
                "error": f"this needs the administrator's token, of {ADMIN_TOKEN}, as 'Authorization: Bearer TOKEN'"
            }
            return JSONResponse(said, 401, {"www-authenticate": "Bearer"})
        known_parameters(request, ("model",))
        name = request.query_params.get("model")
        if name is not None and name not in self.models:
            raise BadInputError(f"there is no model '{name[:80]}'; there are: {', '.join(self.models)}", 404)
        reloaded, problems = await self.reload_models([name] if name is not None else list(self.models))
        if problems:
            return JSONResponse({"error": "; ".join(problems)}, 409)
        return ReloadedModels(reloaded=reloaded)

    async def reload_models(self, names: Sequence[str]) -> tuple[list[Reloaded], list[str]]:
        """Read files anew, and say in the log what came of it.

        Returns:
            what was reloaded, and what went wrong.
        """
        reloaded, problems = [], []
        for name in names:
            try:
                old, new = await self.models[name].reload()
            except Exception as error:  # whatever is wrong with the new one, the old one goes on
                problems.append(f"{name} goes on as it is: {error}")
                _LOG.error("reload: %s", problems[-1])
                self.metrics.reloads.labels(name, "refused").inc()
                continue
            reloaded.append(Reloaded(model=name, old_version=old, version=new))
            _LOG.warning("reload: %s answers as version %s, before as %s", name, new, old)
            self.metrics.reloads.labels(name, "done").inc()
        return reloaded, problems


def _get(
    path: str,
    summary: str,
    handle: Callable[[Request], Awaitable[BaseModel | Response]],
    answers: type[BaseModel] | str,
    refusals: Sequence[int] = (),
    open_to_all: bool = False,
) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        summary=summary,
        handle=handle,
        answers=answers,
        label=(path.strip("/") or "page", ""),
        refusals=refusals,
        needs_token=not open_to_all,
    )
