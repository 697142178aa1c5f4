"""Filters and rows of items as Qdrant reads them."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

from lightning_tl.search.conditions import Range, checked_condition
from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.stores.about import About
from lightning_tl.search.stores.rows import as_number

ID, TITLE = "id", "title"
_ITEMS = uuid.UUID("6f6d1a3a-5f0e-5d8b-9a55-7c4f2f4f3c11")  # the name space of items' ids

SCHEMAS = {
    "texts": "keyword",
    "numbers": "float",
    "truth values": "bool",
    "dates": "datetime",
    "lists of texts": "keyword",
}
"""What a column's payload index is made of."""


def point_id(item: str) -> str:
    """An item's id as Qdrant takes it: a UUID of version 5.

    Raises:
        ValueError: the id has no bytes in UTF-8.
    """
    return str(uuid.uuid5(_ITEMS, item))


def key_of(about: About, column: str) -> str:
    """Where the values of a column lie: by its number, as a dot or a bracket in a name would mean something else.

    Raises:
        ValueError: there is no such column.
    """
    about.kind(column)
    return f"f{sorted(about.columns).index(column)}"


def filter_of(wanted: ItemFilter, about: About) -> Any:
    """A filter of Qdrant's; None where nothing can pass it.

    Raises:
        ValueError: an unknown column, or a value that does not fit it.
    """
    from qdrant_client import models

    must: list[Any] = []
    possible = True
    for name, asked in wanted.where.items():
        kind, key = about.kind(name), key_of(about, name)
        checked = checked_condition(name, asked, kind)
        part = _range(key, name, checked, kind) if isinstance(checked, Range) else _any_of(key, name, checked, kind)
        possible = possible and part is not None
        must.append(part)
    if wanted.allow is not None:
        possible = possible and bool(wanted.allow)
        must.append(models.HasIdCondition(has_id=[point_id(name) for name in sorted(wanted.allow)]))
    without: list[Any] = []
    if wanted.deny:
        without.append(models.HasIdCondition(has_id=[point_id(name) for name in sorted(wanted.deny)]))
    return models.Filter(must=must or None, must_not=without or None) if possible else None


def _range(key: str, name: str, checked: Range, kind: str) -> Any:
    """None where nothing lies in it."""
    from qdrant_client import models

    if kind == "dates":
        return models.FieldCondition(key=key, range=models.DatetimeRange(gte=checked.low, lte=checked.high))
    low, high = (None if end is None else as_number(name, end) for end in (checked.low, checked.high))
    if low == math.inf or high == -math.inf:
        return None  # no number that is kept is infinite
    low, high = (None if end is None or math.isinf(end) else end for end in (low, high))
    if low is None and high is None:
        return models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key=key))])
    return models.FieldCondition(key=key, range=models.Range(gte=low, lte=high))


def _any_of(key: str, name: str, wanted: list[Any], kind: str) -> Any:
    """None where no value is wanted that there can be."""
    from qdrant_client import models

    if kind in ("texts", "lists of texts"):
        return models.FieldCondition(key=key, match=models.MatchAny(any=wanted)) if wanted else None
    parts: list[Any] = []
    for value in wanted:
        if kind == "truth values":
            parts.append(models.FieldCondition(key=key, match=models.MatchValue(value=value)))
        elif (one := _range(key, name, Range(value, value), kind)) is not None:  # numbers and dates have no other match
            parts.append(one)
    return models.Filter(should=parts) if parts else None


def payload_of(item: str, title: str, row: Mapping[str, Any], about: About) -> dict[str, Any]:
    """What is kept beside a vector.

    Args:
        item: id.
        title: of the item.
        row: from `row_of`.
        about: the catalogue.
    """
    return {ID: item, TITLE: title, **{key_of(about, name): value for name, value in row.items()}}
