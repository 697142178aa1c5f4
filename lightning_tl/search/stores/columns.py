"""Columns of the table of items as a store takes them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lightning_tl.search.item_fields import ItemFields, kind_of


def kinds_of(fields: ItemFields | None) -> dict[str, str]:
    """By name what each column holds."""
    return {} if fields is None else {name: kind_of(fields, name) for name in fields.names}


def values_of(fields: ItemFields | None) -> dict[str, list[Any]]:
    """By name [items] the values of each column; None where a cell is empty."""
    if fields is None:
        return {}
    found = {}
    for name in fields.names:
        column = fields.table.column(name)
        found[name] = (pc.cast(column, pa.float64()) if pa.types.is_decimal(column.type) else column).to_pylist()
    return found
