"""Filters and rows of items as PostgreSQL reads them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_tl.search.conditions import Range, checked_condition

KINDS = ("texts", "numbers", "truth values", "dates", "lists of texts")
_SQL_TYPES = {"numbers": "float8", "truth values": "boolean", "dates": "timestamptz", "texts": "text"}


def condition(name: str, checked: Range | list[Any], kind: str) -> tuple[str, list[Any]]:
    """A condition on a column, and the values of its places.

    Args:
        name: of the column.
        checked: from `checked_condition`.
        kind: of the column, one of `KINDS`.
    """
    if kind == "lists of texts":
        assert isinstance(checked, list), "lists have no ranges"
        return "fields->%s ?| %s", [name, checked]
    column = f"(fields->>%s)::{_SQL_TYPES[kind]}"
    if isinstance(checked, list):
        return f"{column} = ANY(%s::{_SQL_TYPES[kind]}[])", [name, [_told(name, one, kind) for one in checked]]
    parts: list[str] = []
    values: list[Any] = []
    for sign, end in ((">=", checked.low), ("<=", checked.high)):
        if end is not None:
            parts.append(f"{column} {sign} %s")
            values += [name, _told(name, end, kind)]
    return " AND ".join(parts), values


def _told(name: str, value: Any, kind: str) -> Any:
    """A value as the database compares it."""
    if kind != "numbers":
        return value
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"'{name}' cannot be compared with {value!r}: it is too large") from None


def row_of(fields: Mapping[str, Sequence[Any]], place: int, columns: Mapping[str, str]) -> dict[str, Any]:
    """Values of one item as JSON; those that are empty are left out.

    Args:
        fields: by column [items].
        place: of the item.
        columns: the kind of each.
    """
    found: dict[str, Any] = {}
    for name, values in fields.items():
        value = values[place]
        if value is None or (isinstance(value, float) and value != value):
            continue
        checked = checked_condition(name, list(value) if columns[name] == "lists of texts" else value, columns[name])
        assert isinstance(checked, list), "a value is no range"
        told = [one.isoformat() if isinstance(one, datetime.datetime) else one for one in checked]
        found[name] = told if columns[name] == "lists of texts" else told[0]
    return found
