"""What users did, and what may be asked about it: the arrays that retrieval works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_ITEM = -1  # fills rows of items that are shorter than others
_AT_ONCE = 2**22  # events that are sorted together


@dataclass(frozen=True)
class InteractionLog:
    """Events sorted by user, then by time; a user's events of the same second keep the order they were recorded in.

    Users and items are known by numbers, which are places in `user_ids` and `item_ids`. Arrays may be memory-mapped.

    Args:
        users: [events] int32, never falling.
        items: [events] int32.
        times: [events] int64, seconds since 1970 in UTC.
        user_ids: [users] what the users are called in the data; a user may have no event.
        item_ids: [items] likewise.
        weights: [events] float32, above 0, how much each event counts in training; None where all count 1.

    Raises:
        ValueError: arrays of different lengths, numbers without an id, or another order.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    weights: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        weights = () if self.weights is None else (self.weights.shape,)
        shapes = (self.users.shape, self.items.shape, self.times.shape, *weights)
        if len(shapes[0]) != 1 or len(set(shapes)) != 1:
            raise ValueError(f"an event log's columns must be lists of one length, got shapes {shapes}")
        if len(self) == 0:
            return
        for name, numbers, ids in (("user", self.users, self.user_ids), ("item", self.items, self.item_ids)):
            if int(numbers.min()) < 0 or int(numbers.max()) >= len(ids):
                found = f"{int(numbers.min())} to {int(numbers.max())}"
                raise ValueError(f"{name} numbers must be from 0 to {len(ids) - 1}, got {found}")
        same = self.users[1:] == self.users[:-1]
        if (self.users[1:] < self.users[:-1]).any() or (same & (self.times[1:] < self.times[:-1])).any():
            raise ValueError("events must be sorted by user, then by time")

    def __len__(self) -> int:
        return len(self.users)

    def user_starts(self) -> NDArray[np.int64]:
        """[users + 1] where each user's events begin; the last number is that of all events."""
        return np.searchsorted(self.users, np.arange(len(self.user_ids) + 1)).astype(np.int64)

    def item_counts(self) -> NDArray[np.int64]:
        """[items] events of each item."""
        return np.bincount(self.items, minlength=len(self.item_ids)).astype(np.int64)

    def user_counts(self) -> NDArray[np.int64]:
        """[users] events of each user."""
        return np.bincount(self.users, minlength=len(self.user_ids)).astype(np.int64)

    def first_takes(self) -> NDArray[np.bool_]:
        """[events] whether the user had not taken the item in an earlier event."""
        first, begin = np.zeros(len(self), bool), 0
        while begin < len(self):  # whole users, some millions of events at a time
            last = self.users[min(begin + _AT_ONCE, len(self)) - 1]
            stop = int(np.searchsorted(self.users, last, side="right"))
            pairs = self.users[begin:stop].astype(np.int64) * max(1, len(self.item_ids)) + self.items[begin:stop]
            first[begin + np.unique(pairs, return_index=True)[1]] = True
            begin = stop
        return first

    def select(self, events: NDArray[np.bool_]) -> InteractionLog:
        """Only these events, with the same numbers for users and items.

        Args:
            events: [events] which to keep.
        """
        weights = None if self.weights is None else self.weights[events]
        return InteractionLog(
            self.users[events], self.items[events], self.times[events], self.user_ids, self.item_ids, weights
        )


@dataclass(frozen=True)
class Queries:
    """Events to be foretold, each from what its user had done strictly before that second.

    The history of query q is `log.items[starts[q]:stops[q]]`, oldest first. Events of the same second are left out of
    it, whichever came first: nobody can say that they were known.

    Args:
        log: everything that was taken, of all times: only the histories are read, never what comes after.
        events: [queries] int64, number of each event in `log`.
        starts: [queries] int64, first event of its user.
        stops: [queries] int64, one past the last event before its time.
    """

    log: InteractionLog
    events: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def of(cls, log: InteractionLog, events: NDArray[np.int64]) -> Queries:
        """Queries for these events of a log."""
        events = np.asarray(events, dtype=np.int64)
        if len(log) == 0 or len(events) == 0:
            return cls(log, events, np.zeros(0, np.int64), np.zeros(0, np.int64))
        # First event of every run of one user and one second: everything of the user before it is strictly earlier.
        begins = np.ones(len(log), bool)
        begins[1:] = (log.users[1:] != log.users[:-1]) | (log.times[1:] != log.times[:-1])
        runs = np.flatnonzero(begins)
        stops = runs[np.searchsorted(runs, events, side="right") - 1]
        return cls(log, events, log.user_starts()[log.users[events]], stops)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Queries:
        return Queries(self.log, self.events[rows], self.starts[rows], self.stops[rows])

    @property
    def users(self) -> NDArray[np.int32]:
        """[queries] who asks."""
        return self.log.users[self.events]

    @property
    def targets(self) -> NDArray[np.int32]:
        """[queries] the item that was taken."""
        return self.log.items[self.events]

    @property
    def times(self) -> NDArray[np.int64]:
        """[queries] seconds since 1970 in UTC."""
        return self.log.times[self.events]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[queries] events of each history."""
        return self.stops - self.starts

    def history(self, last: int) -> NDArray[np.int32]:
        """[queries, last] the newest items of each history, oldest first, `NO_ITEM` after the end of shorter ones."""
        if last < 1:
            raise ValueError(f"a history has at least 1 event, got last={last}")
        first = np.maximum(self.starts, self.stops - last)
        places = first[:, None] + np.arange(last)
        inside = places < self.stops[:, None]
        if len(self.log) == 0:
            return np.full(places.shape, NO_ITEM, np.int32)
        found = self.log.items[np.minimum(places, len(self.log) - 1)]
        return np.where(inside, found, np.int32(NO_ITEM))

    def seen(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All items of all histories: the row of the query, and the item. Both [sum of lengths]."""
        rows = np.repeat(np.arange(len(self)), self.lengths)
        ends = np.cumsum(self.lengths)
        within = np.arange(len(rows)) - np.repeat(ends - self.lengths, self.lengths)
        return rows, self.log.items[self.starts[rows] + within]
