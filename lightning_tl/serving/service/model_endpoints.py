"""The paths of one model, after what it reads."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from lightning_tl.inputs.thumbnail import MEDIA_TYPE
from lightning_tl.serving.service.endpoint import JSON, Endpoint
from lightning_tl.serving.service.endpoints import Answers
from lightning_tl.serving.service.forms import Classified, Embedded, PairsAsked, RecommendedItems, TextsAsked, WishAsked
from lightning_tl.serving.service.served_model import ServedModel

TAKEN_NAMES = (
    *(
        "admin",
        "classify",
        "embed",
        "health",
        "items",
        "metrics",
        "models",
        "openapi.json",
        "page",
        "ready",
        "recommend",
    ),
    "similar",
)
"""Names that no model may have: they are paths of the service."""

_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
        "required": ["image"],
    }
}
_IMAGES: Mapping[str, Mapping[str, Any]] = {"multipart/form-data": _FORM, "image/png": _BYTES, "image/jpeg": _BYTES}
_READING = (400, 408, 413, 415, 422, 503, 504)
_ITEM = {"name": "item", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}, "example": "i1"}
_SIMILAR = (
    _ITEM,
    {"name": "k", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 20}},
)


_Handle = Callable[[Request, ServedModel], Awaitable[BaseModel | Response]]


def check_name(name: str) -> str:
    """A model's name, which stands in paths.

    Raises:
        ValueError: it does not fit there, or is a path of the service.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError(
            f"a model's name may have letters, digits, '_', '.' and '-', 64 at most: give"
            f" NAME=FOLDER, got '{name[:80]}'"
        )
    if name in TAKEN_NAMES:
        raise ValueError(
            f"a model cannot be called '{name}', which is a path of the service: give another as NAME=FOLDER"
        )
    return name


def endpoints_of(served: ServedModel, answers: Answers, prefix: str) -> list[Endpoint]:
    """What one model can be asked.

    Args:
        served: the model.
        answers: what answers.
        prefix: of its paths.
    """
    check_name(served.name)

    def of(handle: _Handle) -> Callable[[Request], Awaitable[BaseModel | Response]]:
        async def answer(request: Request) -> BaseModel | Response:
            return await handle(request, served)

        return answer

    kind = served.now.facts.kind
    if kind == "recommendations":
        return [
            Endpoint(
                method="POST",
                path=f"{prefix}/recommend",
                summary="items for a user, a history or a profile",
                handle=of(answers.recommend),
                answers=RecommendedItems,
                label=("recommend", served.name),
                body={JSON: WishAsked},
                refusals=(*_READING, 404),
            ),
            Endpoint(
                method="GET",
                path=f"{prefix}/similar/{{item:path}}",
                summary="the items nearest to one",
                handle=of(answers.similar),
                answers=RecommendedItems,
                label=("similar", served.name),
                parameters=_SIMILAR,
                refusals=(404, 422, 503, 504),
            ),
            Endpoint(
                method="GET",
                path=f"{prefix}/items/{{item:path}}/picture",
                summary="a small picture of an item",
                handle=of(answers.picture),
                answers=MEDIA_TYPE,
                label=("picture", served.name),
                parameters=(_ITEM,),
                refusals=(404, 422, 504),
            ),
        ]
    body: Mapping[str, Any] = _IMAGES if kind == "images" else {JSON: TextsAsked if kind == "texts" else PairsAsked}
    asked: list[tuple[str, str, _Handle, type[BaseModel]]] = [
        ("classify", f"classes or values of {kind}", answers.classify, Classified),
        ("embed", f"features of {kind}", answers.embed, Embedded),
    ]
    return [
        Endpoint(
            method="POST",
            path=f"{prefix}/{name}",
            summary=summary,
            handle=of(handle),
            answers=form,
            label=(name, served.name),
            body=body,
            refusals=_READING,
        )
        for name, summary, handle, form in asked
    ]
