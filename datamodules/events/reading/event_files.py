"""`read_events`: event files prepared once, and read from memory-mapped arrays ever after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from datamodules.events.reading.event_batches import EventColumns, first_line
from datamodules.events.reading.event_paths import event_paths
from datamodules.events.reading.event_preparation import NOTES, EventSettings, UnknownItems, prepare_events
from datamodules.events.reading.event_times import TimeUnit
from datamodules.loading.made_once import cache_folder, made_once
from lightning_tl.contracts.interactions import InteractionLog

__all__ = ["EventColumns", "Events", "read_events"]

_FORMAT = 1  # of the kept files; part of their folders' names


@dataclass(frozen=True)
class Events:
    """What users did, as event files tell it.

    Args:
        taken: events with enough completion; all of them where there is no such column.
        viewed: events with less: seen, and not taken. Users and items have the same numbers as in `taken`. None where
            there is no such column.
        notes: what the user should know, a line each.
    """

    taken: InteractionLog
    viewed: InteractionLog | None
    notes: tuple[str, ...]


def read_events(
    path: Path | list[Path],
    columns: EventColumns,
    item_ids: Sequence[str] | None = None,
    user_ids: Sequence[str] | None = None,
    unknown_items: UnknownItems = "error",
    time_unit: TimeUnit | None = None,
    min_completion: float = 0.5,
    cache: Path | None = None,
) -> Events:
    """Events of Parquet, CSV or TSV files, sorted by user and then by time.

    Files may be in any order of time, also backwards: events are simply sorted, and those of one user and one second
    keep the order in which they lie in the files. Events of the same user, item and second are one: it has the weight
    of the first and the largest completion. Rows are counted from 1, the first below the header.

    Logs may be larger than memory, which is needed for the ids and some millions of events at a time. The sorted arrays
    are kept in a folder named after path, size and time of change of the files and after all settings, and read from
    there, memory-mapped; the next call finds them.

    Args:
        path: a file, a folder of files (read by name), or several; all Parquet, all CSV, or all TSV.
        columns: which column holds what. Ids are whole numbers or texts, and texts in the log. For times see
            `utc_seconds`.
        item_ids: of the table of items: these have the first numbers. None where there is no table: items are numbered
            as they appear.
        user_ids: likewise; users whom the table lacks get the numbers after it.
        unknown_items: what to do with events of items that the table lacks: "error"; "skip" them; "text-less": keep
            them, their items after those of the table.
        time_unit: of times that are whole numbers; None takes seconds. Timestamps and ISO 8601 texts have their own.
        min_completion: least completion of events that count as taken, in 0…1.
        cache: folder of kept arrays; default `lightning_tl` in the cache of Hugging Face data sets (`HF_HOME`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: for arguments out of range, files that cannot be read, missing columns, values that cannot be right
            (with the row), ids that are numbers in one file and texts in another, unknown items, or no events.
    """
    if not 0 <= min_completion <= 1:
        raise ValueError(f"min_completion must be in 0…1, got {min_completion}")
    if unknown_items not in get_args(UnknownItems):
        raise ValueError(f"unknown_items must be error, skip or text-less, got '{unknown_items}'")
    if time_unit is not None and time_unit not in get_args(TimeUnit):
        raise ValueError(f"time_unit must be s, ms, us or ns, got '{time_unit}'")
    files = event_paths(path)
    settings = EventSettings(columns, unknown_items, time_unit, min_completion)
    state = _state(files)
    key = _key(state, settings, item_ids, user_ids)
    folder = (cache_folder() if cache is None else Path(cache)) / f"events-{key}"

    def write(into: Path) -> None:
        prepare_events(files, settings, item_ids, user_ids, into)
        if _state(files) != state:
            raise ValueError(f"files in {files[0].parent} changed while they were read; try again when they are still")

    made_once(folder, NOTES, write)
    try:
        return _open(folder, columns)
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder} is damaged ({first_line(error)}); remove it to have it prepared anew") from None


def _open(folder: Path, columns: EventColumns) -> Events:
    user_ids, item_ids = (
        pq.read_table(folder / f"{name}.parquet")["id"].to_pylist() for name in ("user_ids", "item_ids")
    )

    def array(kind: str, name: str) -> NDArray[Any]:
        found: NDArray[Any] = np.load(folder / f"{kind}_{name}.npy", mmap_mode="r")
        return found

    def log(kind: str) -> InteractionLog:
        weights = None if columns.weight is None else array(kind, "weights")
        return InteractionLog(
            array(kind, "users"), array(kind, "items"), array(kind, "times"), user_ids, item_ids, weights
        )

    notes = tuple(json.loads((folder / NOTES).read_text(encoding="utf-8")))
    return Events(log("taken"), None if columns.completion is None else log("viewed"), notes)


def _state(files: list[Path]) -> list[tuple[str, int, int]]:
    """Path, size and time of the last change of each file."""
    return [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _key(
    state: list[tuple[str, int, int]],
    settings: EventSettings,
    item_ids: Sequence[str] | None,
    user_ids: Sequence[str] | None,
) -> str:
    digest = hashlib.sha256(repr((_FORMAT, settings, state)).encode())
    for ids in (item_ids, user_ids):
        digest.update(b"none" if ids is None else f"{len(ids)}\0".encode())
        for value in () if ids is None else ids:
            digest.update(f"{value!r}\0".encode())
    return digest.hexdigest()[:32]
