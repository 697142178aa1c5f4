"""Filters of items as PostgreSQL reads them."""

from __future__ import annotations

from typing import Any

from lightning_tl.search.conditions import Range, checked_condition
from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.stores.about import About
from lightning_tl.search.stores.rows import as_number

_SQL_TYPES = {"numbers": "float8", "truth values": "boolean", "dates": "timestamptz", "texts": "text"}


def where_of(wanted: ItemFilter, about: About) -> tuple[str, list[Any]]:
    """The condition of a query, or nothing, and the values of its places.

    Raises:
        ValueError: an unknown column, or a value that does not fit it.
    """
    parts, values = [], []
    if wanted.allow is not None:
        parts.append("id = ANY(%s)")
        values.append(sorted(wanted.allow))
    if wanted.deny:
        parts.append("id <> ALL(%s)")
        values.append(sorted(wanted.deny))
    for name, asked in wanted.where.items():
        kind = about.kind(name)
        part, more = _condition(name, checked_condition(name, asked, kind), kind)
        parts.append(part)
        values += more
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), values


def _condition(name: str, checked: Range | list[Any], kind: str) -> tuple[str, list[Any]]:
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
    return as_number(name, value) if kind == "numbers" else value
