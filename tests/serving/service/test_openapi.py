"""The service does what its own description says, whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served_models import ColourModel, CountingModel, client_of, service_of

MODELS = {
    "p": ColourModel(),
    "t": ColourModel(kind="texts"),
    "b": ColourModel(kind="pairs"),
    "r": CountingModel(),
}
SERVICE = service_of(*MODELS.items(), admin="boss")
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_asgi("/openapi.json", SERVICE)


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    yield
    SERVICE.close()


@schema.parametrize()
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_nothing_breaks_it_and_no_status_is_undocumented(case: Any) -> None:
    case.call_and_validate(checks=CHECKS)


def test_examples_are_answered() -> None:
    service = service_of(*MODELS.items())
    with client_of(service) as client:
        said = client.get("/openapi.json").json()
        for path, methods in said["paths"].items():
            for content in methods.get("post", {}).get("requestBody", {}).get("content", {}).values():
                for example in content.get("examples", {}).values():
                    answer = client.post(path, json=example["value"])
                    assert answer.status_code in (200, 404), (path, answer.text)  # the items are of nobody's shop
        refusals = {
            status for methods in said["paths"].values() for op in methods.values() for status in op["responses"]
        }
    assert refusals >= {"200", "400", "404", "408", "409", "413", "415", "422", "503", "504"}
