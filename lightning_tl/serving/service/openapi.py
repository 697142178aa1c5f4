"""The description of a service that other programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lightning_tl.serving.service.endpoint import JSON, Endpoint
from lightning_tl.serving.service.forms import Problem
from lightning_tl.version import version_of_this

REFUSALS = {
    400: "the body is no JSON or form that can be read",
    401: "no token, or a wrong one",
    403: "the service was started without an administrator's token",
    404: "there is no such item, picture or model",
    408: "the body did not arrive in time",
    409: "what lies there now cannot answer, the model before it goes on; or it is being reloaded already",
    413: "the body is too long",
    415: "of another content type than the model reads",
    422: "a field, value, image or text that cannot be answered",
    503: "too many requests wait: ask again after as many seconds as Retry-After says",
    504: "no answer within the deadline",
}


def describe(endpoints: Sequence[Endpoint], token: bool) -> dict[str, Any]:
    """OpenAPI 3.1 of a service.

    Args:
        endpoints: all that it has.
        token: whether it asks for one.
    """
    forms: dict[type[BaseModel], str] = {Problem: "serialization"}
    for endpoint in endpoints:
        forms.update({form: "validation" for form in endpoint.body.values() if isinstance(form, type)})
        if isinstance(endpoint.answers, type):
            forms[endpoint.answers] = "serialization"
    _, schemas = models_json_schema(list(forms.items()), ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = endpoint.path.replace(":path}", "}")
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, token)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lightning_tl", "version": version_of_this()},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, token: bool) -> dict[str, Any]:
    kind = JSON if isinstance(endpoint.answers, type) else endpoint.answers
    binary = {"format": "binary"} if kind.startswith("image/") else {}
    schema = _reference(endpoint.answers) if isinstance(endpoint.answers, type) else {"type": "string", **binary}
    asks = token and endpoint.needs_token
    refusals = sorted({*endpoint.refusals, *([401] if asks else [])})
    problem = {JSON: {"schema": _reference(Problem)}}
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}{endpoint.path.replace('/', '_')}",
        "parameters": list(endpoint.parameters),
        "responses": {
            "200": {"description": "the answer", "content": {kind: {"schema": schema}}},
            **{str(status): {"description": REFUSALS[status], "content": problem} for status in refusals},
        },
    }
    if endpoint.body:
        content = {kind: _content(asked) for kind, asked in endpoint.body.items()}
        operation["requestBody"] = {"required": True, "content": content}
    if asks or 403 in refusals:
        operation["security"] = [{"token": []}]
    return operation


def _content(asked: type[BaseModel] | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(asked, type):
        return asked
    examples: Any = (asked.model_config.get("json_schema_extra") or {}).get("examples", [])  # type: ignore[union-attr]
    named = {str(number): {"value": example} for number, example in enumerate(examples, 1)}
    return {"schema": _reference(asked), "examples": named}


def _reference(form: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{form.__name__}"}
