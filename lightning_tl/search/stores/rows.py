"""Items as rows of a store: their values as JSON, in batches, and where a load that was stopped goes on."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning_tl.search.conditions import checked_condition
from lightning_tl.search.stores.about import About
from lightning_tl.search.vector_store import NewItems, Vectors, checked_items

AT_ONCE = 1_000
"""Items of a batch, each of which is written whole or not at all."""
_NUMBERS = 1_000_000  # of a batch, each some 20 bytes of JSON


def checked_rows(items: NewItems, about: About, name: str) -> Vectors:
    """The vectors of items that a catalogue can keep.

    Args:
        items: to be written.
        about: the catalogue.
        name: of the catalogue.

    Raises:
        ValueError: see `VectorStore.upsert`, an unknown column, or a value that does not fit its column.
    """
    vectors = checked_items(items, about.dim)
    unknown = next((column for column in items.fields if column not in about.columns), None)
    if unknown is not None:
        raise ValueError(f"the catalogue {name} has no column '{unknown}'; it has: {about.named}")
    for place in range(len(items.ids)):
        row_of(items.fields, place, about.columns)
    return vectors


def batches(count: int, dim: int = 1) -> Iterator[range]:
    """Places of items, batch by batch.

    Args:
        count: of all items.
        dim: of what is sent of each: with long vectors a batch has fewer, as a server takes a request of some 30 MB.
    """
    at_once = max(1, min(AT_ONCE, _NUMBERS // max(1, dim)))
    return (range(start, min(start + at_once, count)) for start in range(0, count, at_once))


def row_of(fields: Mapping[str, Sequence[Any]], place: int, columns: Mapping[str, str]) -> dict[str, Any]:
    """Values of one item as JSON; those that are empty are left out.

    Args:
        fields: by column [items].
        place: of the item.
        columns: the kind of each.

    Raises:
        ValueError: a value does not fit its column.
    """
    found: dict[str, Any] = {}
    for name, values in fields.items():
        value, kind = values[place], columns[name]
        if value is None:
            continue
        if kind == "lists of texts":
            found[name] = checked_condition(name, [one for one in value if one is not None], kind)
            continue
        if value != value:  # NaN, and the empty time of pandas
            continue
        checked = checked_condition(name, [value], kind)
        assert isinstance(checked, list), "a value is no range"
        found[name] = as_json(name, checked[0], kind)
    return found


def as_json(name: str, value: Any, kind: str) -> Any:
    """A value from `checked_condition` as JSON has it.

    Raises:
        ValueError: a number that is infinite, or too large to be compared.
    """
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if kind != "numbers":
        return value
    number = as_number(name, value)
    if math.isinf(number):
        raise ValueError(f"'{name}' is to hold an infinite number, which a database does not keep")
    return number


def as_number(name: str, value: Any) -> float:
    """A number as it is compared: in double precision.

    Raises:
        ValueError: it is too large.
    """
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"'{name}' cannot be compared with {value!r}: it is too large") from None


def fingerprint(items: NewItems, vectors: Vectors, about: About) -> str:
    """12 hexadecimal digits by which a load is known again."""
    digest = hashlib.sha256(json.dumps([about.dim, about.model_sha256, sorted(about.columns.items())]).encode())
    titles = items.titles or [""] * len(items.ids)
    for place in range(len(items.ids)):
        row = [items.ids[place], titles[place], row_of(items.fields, place, about.columns)]
        digest.update(json.dumps(row, sort_keys=True).encode())
    digest.update(vectors.tobytes())
    return digest.hexdigest()[:12]


def place_of_load(name: str, found: str, now: str | None) -> str:
    """Where a load goes: never where items are searched now, and where it was stopped, if it was.

    Args:
        name: of the catalogue.
        found: from `fingerprint`.
        now: place that is searched; None where there is no such catalogue yet.
    """
    place = f"{name}__{found}"
    return f"{place}b" if place == now else place


def is_place_of(name: str, place: str) -> bool:
    """Whether a table or collection is, or was, one of `place_of_load`."""
    return re.fullmatch(rf"{re.escape(name)}__[0-9a-f]{{12}}b?", place) is not None
