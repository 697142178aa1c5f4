"""Which fields of a recipe set its learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLAIN, ENDING = "lr", "_lr"


def rate_fields(model: Mapping[str, Any], learning_rates: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields that have to be multiplied for every group's rate to be, with their values.

    A rate that follows from another, because its own field is empty, is not among them.

    Args:
        model: a recipe's section, with `class_path` and `init_args`.
        learning_rates: of `DiscriminativeLearningRates`, whose `rates` stand for themselves.
    """
    found: dict[str, Any] = {}
    given = dict(model.get("init_args") or {})
    if _is_rate(given.get(PLAIN)):
        found[f"model.{PLAIN}"] = float(given[PLAIN])

    def visit(part: Mapping[str, Any], path: str) -> None:
        for name, value in part.items():
            if isinstance(value, Mapping) and "class_path" in value:  # a tower; an optimizer's own rate is written over
                visit(value.get("init_args") or {}, f"{path}.{name}")
            elif name.endswith(ENDING) and _is_rate(value):
                found[f"{path}.{name}"] = float(value)

    visit(given, "model")
    explicit = (learning_rates or {}).get("rates") or {}
    if explicit:
        found["learning_rates.rates"] = {name: float(rate) for name, rate in explicit.items()}
    return found


def multiplied(fields: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The same fields with values that are `factor` times as large, in three digits.

    Args:
        fields: of `rate_fields`.
        factor: above 0.
    """

    def times(value: float) -> float:
        return float(f"{value * factor:.3g}")

    return {
        name: {k: times(v) for k, v in value.items()} if isinstance(value, dict) else times(value)
        for name, value in fields.items()
    }


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
