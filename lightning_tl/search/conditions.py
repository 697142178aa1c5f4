"""Conditions of a filter: a range, or a list of values, that fits what its column holds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any


class Range:
    """From `low` to `high`, both included; None for no bound."""

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = low, high


def checked_condition(name: str, wanted: Any, kind: str) -> Range | list[Any]:
    """A condition of a filter as a range or as a list of values, dates as `datetime`.

    Args:
        name: of the column, for messages.
        wanted: what stands in the filter.
        kind: of the column: "texts", "numbers", "truth values", "dates" or "lists of texts".

    Raises:
        ValueError: it does not fit.
    """
    if isinstance(wanted, Mapping):
        if not wanted or set(wanted) - {"from", "to"}:
            raise ValueError(f"a range of '{name}' is given as {{'from': …, 'to': …}}, got {dict(wanted)!r}")
        if kind not in ("numbers", "dates"):
            raise ValueError(f"'{name}' is a column of {kind}, which has no ranges: give a list of values")
        low, high = (None if wanted.get(end) is None else _value(name, wanted[end], kind) for end in ("from", "to"))
        if low is None and high is None:
            raise ValueError(f"a range of '{name}' needs 'from' or 'to', got neither")
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"a range of '{name}' goes from {wanted['from']!r} to {wanted['to']!r}: nothing lies in it"
            )
        return Range(low, high)
    several = list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
    return [_value(name, value, kind) for value in several]


def _value(name: str, value: Any, kind: str) -> Any:
    right: Any = False
    if kind in ("texts", "lists of texts"):
        right = isinstance(value, str)
    elif kind == "truth values":
        right = isinstance(value, bool)
    elif kind == "numbers":
        right = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    elif isinstance(value, datetime.date | str):
        return _as_date(name, value)
    if not right:
        raise ValueError(f"'{name}' is a column of {kind}, and {value!r} is none of these")
    return value


def _as_date(name: str, value: datetime.date | str) -> datetime.datetime:
    """In UTC; a text or date without a time is its midnight."""
    try:
        found = datetime.datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
    except ValueError:
        raise ValueError(f"'{name}' is a column of dates, and {value!r} is none, as 2024-05-01 would be") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)
