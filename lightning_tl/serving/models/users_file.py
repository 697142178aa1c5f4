"""The users of a bundle in a file: what they took, what else they are not offered, and their profiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.serving.models.known_users import KnownUsers
from lightning_tl.serving.models.profile_codes import ProfileCodes

FILE = "users.parquet"
POPULAR = "popular.parquet"

Lists = Sequence[NDArray[np.int32]]


def write_users(
    folder: Path, ids: Sequence[str], histories: Lists, not_again: Lists, profiles: NDArray[np.int64]
) -> None:
    """Write `users.parquet`.

    Args:
        folder: of the bundle.
        ids: [users].
        histories: [users] numbers of what was taken, in `history_items.parquet`, oldest first.
        not_again: [users] numbers of what else is not offered.
        profiles: [users, fields] codes.
    """
    columns = {
        "user": pa.array(list(ids), pa.string()),
        "history": _lists(histories),
        "not_again": _lists(not_again),
        "profile": _lists([row.astype(np.int32) for row in profiles]),
    }
    pq.write_table(pa.table(columns), folder / FILE)


def write_popular(folder: Path, numbers: NDArray[np.int32], events: NDArray[np.float64]) -> None:
    """Write `popular.parquet`: numbers of items, the most popular of late first, and the events of each."""
    pq.write_table(pa.table({"item": pa.array(numbers, pa.int32()), "events": pa.array(events)}), folder / POPULAR)


def read_users(folder: Path, items: Sequence[str], codes: ProfileCodes, exclude: bool) -> KnownUsers:
    """What the files say, read as it is asked for.

    Args:
        folder: of the bundle.
        items: ids of the items by their numbers.
        codes: of profiles.
        exclude: whether what was taken is left out.

    Raises:
        ValueError: a file is damaged.
    """
    try:
        table, popular = pq.read_table(folder / FILE), pq.read_table(folder / POPULAR)
        rows = {user: row for row, user in enumerate(table.column("user").to_pylist())}
        taken, more, profiles = (_Lists(table, name) for name in ("history", "not_again", "profile"))
        best, events = popular.column("item").to_pylist(), popular.column("events").to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"the users in {folder} cannot be read ({error}): export the bundle again") from None
    return KnownUsers(
        histories=_ByUser(rows, taken, lambda row: [items[number] for number in row.tolist()]),
        not_again=_ByUser(rows, more, lambda row: [items[number] for number in row.tolist()]),
        profiles=_ByUser(rows, profiles, codes.profile),
        popular=[items[number] for number in best],
        events=events,
        exclude=exclude,
    )


def _lists(rows: Lists) -> pa.ListArray:
    ends = np.cumsum([0, *(len(row) for row in rows)])
    values = np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values, pa.int32()))


class _Lists:
    """A column of lists of numbers, as one array."""

    def __init__(self, table: pa.Table, name: str) -> None:
        column = table.column(name).combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        self.ends = np.asarray(column.offsets)
        self.values = np.asarray(column.values)

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.ends[row] : self.ends[row + 1]]


class _ByUser(Mapping[str, Any]):
    """One list for each user, made when it is asked for."""

    def __init__(self, rows: Mapping[str, int], lists: _Lists, made: Any) -> None:
        self._rows, self._lists, self._made = rows, lists, made

    def __getitem__(self, user: str) -> Any:
        return self._made(self._lists[self._rows[user]])

    def __contains__(self, user: object) -> bool:
        return user in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
