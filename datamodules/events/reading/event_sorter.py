"""`EventSorter`: events in any order, sorted on disk by user and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from datamodules.events.reading.growing_array import GrowingArray

Rows = NDArray[Any]  # [events] of the fields user, item, time and, where asked for, taken and weight
ARRAYS = {"users": "user", "items": "item", "times": "time", "weights": "weight"}  # names of files, by field


@dataclass(frozen=True)
class Sorted:
    """How many events were written.

    Args:
        taken: events that count as taken.
        viewed: events that do not.
        duplicates: events dropped because user, item and second were those of an earlier one.
        first: second of the earliest event of both.
        last: second of the latest one.
    """

    taken: int
    viewed: int
    duplicates: int
    first: int
    last: int


class EventSorter:
    """Takes events as they come, then writes them sorted by user and time; ties keep the order in which they came.

    Memory is bounded by `block` events and one number a user, however many events there are: what comes is first
    written as it is, then parted into blocks of consecutive users, then sorted block by block. Only a user with more
    than `block` events needs more.

    Args:
        folder: for the temporary files, which are removed; twice the size of the events.
        completion: whether events say if they were taken; all are where they do not.
        weights: whether events have weights.
        block: events sorted at once.
    """

    def __init__(self, folder: Path, completion: bool, weights: bool, block: int = 4_000_000) -> None:
        if block < 1:
            raise ValueError(f"a block has at least 1 event, got {block}")
        fields = [("user", "<i4"), ("item", "<i4"), ("time", "<i8")]
        fields += [("taken", "?")] if completion else []
        fields += [("weight", "<f4")] if weights else []
        self._dtype = np.dtype(fields)
        self._block = block
        self._came, self._parted = folder / "events.came", folder / "events.parted"
        self._file = self._came.open("wb")
        self._counts = np.zeros(0, np.int64)  # [users] events of each

    def __len__(self) -> int:
        return int(self._counts.sum())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """No more events come: what was taken lies on the disk whole, and `write` may follow."""
        self._file.close()

    def add(self, **columns: NDArray[Any]) -> None:
        """Take events.

        Args:
            **columns: [events] each: user, item, time and, where asked for at construction, taken and weight.
        """
        rows = np.empty(len(columns["user"]), self._dtype)
        for name, values in columns.items():
            rows[name] = values
        rows.tofile(self._file)
        counts = np.bincount(rows["user"], minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def write(self, folder: Path) -> Sorted:
        """Write `taken_users.npy`, `taken_items.npy`, `taken_times.npy`, … and `viewed_…` where there is completion."""
        self._file.close()
        kinds = ("taken", "viewed") if "taken" in (self._dtype.names or ()) else ("taken",)
        arrays = {
            kind: {
                field: GrowingArray(folder / f"{kind}_{name}.npy", self._dtype[field])
                for name, field in ARRAYS.items()
                if field in (self._dtype.names or ())
            }
            for kind in kinds
        }
        first, last = np.iinfo(np.int64).max, -1
        for block in self._blocks():
            rows = first_of_duplicates(by_user_and_time(block))
            first, last = min(first, int(rows["time"].min())), max(last, int(rows["time"].max()))
            for kind, fields in arrays.items():
                part = rows if len(kinds) == 1 else rows[rows["taken"] == (kind == "taken")]
                for field, array in fields.items():
                    array.append(part[field])
        for fields in arrays.values():
            for array in fields.values():
                array.close()
        counts = [len(fields["user"]) for fields in arrays.values()] + [0]
        self._came.unlink()
        self._parted.unlink(missing_ok=True)
        return Sorted(counts[0], counts[1], len(self) - sum(counts), first, last)

    def _blocks(self) -> Iterator[Rows]:
        """The events of consecutive users, unsorted but in the order in which they came."""
        if len(self) <= self._block:
            if len(self):
                yield np.fromfile(self._came, self._dtype)
            return
        blocks = _block_of_users(self._counts, self._block)
        starts = np.concatenate([[0], np.cumsum(np.bincount(blocks, weights=self._counts))]).astype(np.int64)
        self._part(blocks, starts)
        for start, stop in pairwise(starts):
            if stop > start:
                yield np.fromfile(
                    self._parted, self._dtype, int(stop - start), offset=int(start) * self._dtype.itemsize
                )

    def _part(self, blocks: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        """Write each block's events from its start on; pieces go one after the other, so that no disk has to jump."""
        size = self._dtype.itemsize
        places = starts[:-1].copy()
        with self._came.open("rb") as came, self._parted.open("wb") as parted:
            while len(rows := np.fromfile(came, self._dtype, self._block)):
                numbers = blocks[rows["user"]]
                rows = rows[np.argsort(numbers, kind="stable")]
                counts = np.bincount(numbers, minlength=len(places))
                for number, piece in enumerate(np.split(rows, np.cumsum(counts)[:-1])):
                    if len(piece):
                        parted.seek(int(places[number]) * size)
                        piece.tofile(parted)
                places += counts


def by_user_and_time(rows: Rows) -> Rows:
    """Sorted, ties in the order they have."""
    user, time = rows["user"].astype(np.int64), rows["time"]
    span = int(time.max()) - int(time.min()) + 1
    if (int(user.max()) - int(user.min()) + 1) * span < 2**63:  # one number says both, which sorts faster than two
        user -= user.min()
        user *= span
        user += time - time.min()
        found: Rows = rows[np.argsort(user, kind="stable")]
        return found
    found = rows[np.lexsort((time, user))]
    return found


def first_of_duplicates(rows: Rows) -> Rows:
    """Events of the same user, item and second become their first, taken where one of them was.

    Args:
        rows: sorted by user and time.
    """
    same = (rows["user"][1:] == rows["user"][:-1]) & (rows["time"][1:] == rows["time"][:-1])
    if not same.any():
        return rows
    crowded = np.zeros(len(rows), bool)  # has another event of its user in its second: only these can be duplicates
    crowded[1:] |= same
    crowded[:-1] |= same
    places = np.flatnonzero(crowded)
    runs = np.cumsum(np.concatenate([[True], ~same]))[places]
    items = rows["item"][places]
    order = np.lexsort((items, runs))  # stable: the first that came leads its group
    leads = np.ones(len(order), bool)
    leads[1:] = (runs[order][1:] != runs[order][:-1]) | (items[order][1:] != items[order][:-1])
    if "taken" in (rows.dtype.names or ()):
        taken = rows["taken"][places[order]].astype(np.int8)
        rows["taken"][places[order[leads]]] = np.maximum.reduceat(taken, np.flatnonzero(leads)) > 0
    kept = np.ones(len(rows), bool)
    kept[places[order[~leads]]] = False
    found: Rows = rows[kept]
    return found


def _block_of_users(counts: NDArray[np.int64], block: int) -> NDArray[np.int64]:
    """[users] which block each belongs to; a block ends with the user with whom it reaches `block` events or users."""
    sizes = np.maximum(counts, 1)
    ends = np.cumsum(sizes)
    numbers = (ends - sizes) // block
    _, found = np.unique(numbers, return_inverse=True)
    return found.astype(np.int64)
