"""`prepare_events`: from event files to sorted arrays on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from datamodules.events.reading.event_batches import EventColumns, event_batches
from datamodules.events.reading.event_sorter import EventSorter, Sorted
from datamodules.events.reading.event_times import TimeUnit, as_date, utc_seconds
from datamodules.events.reading.event_values import EventValues
from datamodules.events.reading.id_numbers import UNKNOWN, IdNumbers

UnknownItems = Literal["error", "skip", "text-less"]
NOTES = "notes.json"  # the last file to be written
_EARLY = 10**8  # seconds: March 1973


@dataclass(frozen=True)
class EventSettings:
    """How event files are read. The arguments are those of `read_events`."""

    columns: EventColumns
    unknown_items: UnknownItems
    time_unit: TimeUnit | None
    min_completion: float


@dataclass
class _Counts:
    """What happened while reading."""

    events: int = 0
    of_unknown: int = 0
    of_known_users: int = 0
    unknown: dict[str, None] = field(default_factory=dict)  # ids of skipped items, each once
    filled: set[Path] = field(default_factory=set)  # files that have rows


def prepare_events(
    files: list[Path],
    settings: EventSettings,
    item_ids: Sequence[str] | None,
    user_ids: Sequence[str] | None,
    folder: Path,
) -> None:
    """Write the events of all files, sorted, with ids and notes.

    Writes what `EventSorter` does, `item_ids.parquet`, `user_ids.parquet` and, last, `notes.json`.

    Raises:
        ValueError: values that cannot be right, no events, or events of items that the table lacks.
    """
    items, users = IdNumbers(item_ids, "item"), IdNumbers(user_ids, "user")
    columns = settings.columns
    counts = _Counts()
    with EventSorter(folder, columns.completion is not None, columns.weight is not None) as sorter:
        for batch in event_batches(files, columns):
            found = _numbered(batch, settings, items, users, item_ids is not None, counts)
            if len(found["user"]):
                sorter.add(**found)
    _check(files, settings, items, counts)
    if users.known and not counts.of_known_users:
        raise ValueError(
            f"none of the {len(users.added):,} users of the events is in the table of users "
            f"({', '.join(users.added[:3])}, and there such as {users.ids[0]}). Are both tables' ids of one kind? "
            "Leave the table out if it is of others"
        )
    result = sorter.write(folder)
    if not result.taken:
        raise ValueError(
            f"none of {result.viewed:,} events has {columns.completion} of {settings.min_completion:g} or more; lower "
            "min_completion"
        )
    for name, ids in (("item_ids", items.ids), ("user_ids", users.ids)):
        pq.write_table(pa.table({"id": pa.array(ids, pa.large_string())}), folder / f"{name}.parquet")
    notes = [*_notes(files, settings, counts, result, items, users), *_without_events(folder, items, users)]
    (folder / NOTES).write_text(json.dumps(notes), encoding="utf-8")


def _numbered(
    batch: dict[str, EventValues],
    settings: EventSettings,
    items: IdNumbers,
    users: IdNumbers,
    table: bool,
    counts: _Counts,
) -> dict[str, NDArray[Any]]:
    """The events of a batch as `EventSorter` takes them. Items without a number are left out, before users get one."""
    item_texts, user_texts = batch["item"].texts(), batch["user"].texts()
    found: dict[str, NDArray[Any]] = {"time": utc_seconds(batch["time"], settings.time_unit)}
    if "completion" in batch:
        found["taken"] = batch["completion"].reaches(settings.min_completion)
    if "weight" in batch:
        found["weight"] = batch["weight"].weights()
    found["item"], unknown = items.numbers(item_texts, add=not (table and settings.unknown_items == "skip"))
    counts.events += len(user_texts)
    counts.unknown.update(dict.fromkeys(unknown))
    counts.filled.add(batch["user"].path)
    kept = found["item"] != UNKNOWN
    if table:
        counts.of_unknown += int((~kept | (found["item"] >= items.known)).sum())
    if not kept.all():
        found = {name: values[kept] for name, values in found.items()}
        user_texts = user_texts.filter(pa.array(kept))
    found["user"], _ = users.numbers(user_texts, add=True)
    counts.of_known_users += int((found["user"] < users.known).sum())
    return found


def _check(files: list[Path], settings: EventSettings, items: IdNumbers, counts: _Counts) -> None:
    if not counts.events:
        raise ValueError(f"{files[0]} has no rows" if len(files) == 1 else f"none of {len(files)} event files has rows")
    if settings.unknown_items == "error" and counts.of_unknown:
        examples, known = ", ".join(items.added[:3]), f", which has such as {items.ids[0]}" if items.known else ""
        raise ValueError(
            f"{counts.of_unknown:,} events are of {len(items.added):,} items that are not in the table of items: "
            f"{examples}{known}. Add them, or set unknown_items to skip or text-less"
        )
    if counts.of_unknown == counts.events and (settings.unknown_items == "skip" or items.known):
        examples = ", ".join((list(counts.unknown) or items.added)[:3])
        raise ValueError(
            f"no events are left: all {counts.events:,} are of items that are not in the table of items ({examples}). "
            "Are both tables' ids of one kind?"
        )


def _notes(
    files: list[Path], settings: EventSettings, counts: _Counts, result: Sorted, items: IdNumbers, users: IdNumbers
) -> list[str]:
    found = []
    if len(counts.filled) < len(files):
        found.append(f"{len(files) - len(counts.filled):,} of {len(files):,} event files have no rows")
    if counts.of_unknown:
        fate = "skipped" if settings.unknown_items == "skip" else "kept without text"
        number = len(counts.unknown) or len(items.added)
        found.append(f"{counts.of_unknown:,} events of {number:,} items that are not in the table of items: {fate}")
    if result.duplicates:
        found.append(f"{result.duplicates:,} events repeat user, item and second of another one: dropped")
    if result.viewed:
        found.append(
            f"{result.viewed:,} events were viewed and not taken: completion below {settings.min_completion:g}"
        )
    if users.known and users.added:
        found.append(f"{len(users.added):,} users of events are not in the table of users: added, without profile")
    if result.last < _EARLY:
        span = f"{as_date(result.first)} to {as_date(result.last)}"
        found.append(f"all events are from {span}: are their times really seconds since 1970?")
    return found


def _without_events(folder: Path, items: IdNumbers, users: IdNumbers, step: int = 4_000_000) -> list[str]:
    """A note for items and for users of which no event was taken."""
    found = []
    for what, ids in (("items", items.ids), ("users", users.ids)):
        numbers = np.load(folder / f"taken_{what}.npy", mmap_mode="r")
        seen = np.zeros(len(ids), bool)
        for start in range(0, len(numbers), step):  # piece by piece, for logs that do not fit into memory
            seen[numbers[start : start + step]] = True
        if not seen.all():
            found.append(f"{int((~seen).sum()):,} of {len(ids):,} {what} have no event that was taken")
    return found
