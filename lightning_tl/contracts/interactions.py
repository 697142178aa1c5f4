"""What users did, and what may be asked about it: the arrays that retrieval works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Exclude = Literal["taken", "seen", "none"]
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
        exclude: which items are not offered again: "taken" those of the history, "seen" also those that the user saw
            before and did not take, "none" nothing.
        viewed: events that were seen and not taken, of all times, with the log's numbers; None where none are known.
    """

    log: InteractionLog
    events: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    exclude: Exclude = "taken"
    viewed: InteractionLog | None = None

    @classmethod
    def of(
        cls,
        log: InteractionLog,
        events: NDArray[np.int64],
        exclude: Exclude = "taken",
        viewed: InteractionLog | None = None,
        in_order: bool = False,
    ) -> Queries:
        """Queries for these events of a log.

        Args:
            log: in which the users' histories are found.
            events: [queries] places in the log.
            exclude: "taken" or "seen" before the query's time is not to be ranked; "none" leaves everything in.
            viewed: events that were seen and not taken; needed for "seen".
            in_order: events of the same second come one after the other, as recorded, so that those before an event
                are its history: for logs whose times do not tell.
        """
        events = np.asarray(events, dtype=np.int64)
        if len(log) == 0 or len(events) == 0:
            return cls(log, events, np.zeros(0, np.int64), np.zeros(0, np.int64), exclude, viewed)
        if in_order:
            return cls(log, events, log.user_starts()[log.users[events]], events, exclude, viewed)
        # First event of every run of one user and one second: everything of the user before it is strictly earlier.
        begins = np.ones(len(log), bool)
        begins[1:] = (log.users[1:] != log.users[:-1]) | (log.times[1:] != log.times[:-1])
        runs = np.flatnonzero(begins)
        stops = runs[np.searchsorted(runs, events, side="right") - 1]
        return cls(log, events, log.user_starts()[log.users[events]], stops, exclude, viewed)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Queries:
        return replace(self, events=self.events[rows], starts=self.starts[rows], stops=self.stops[rows])

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
        """The items that are not offered, each once for each query: the row of the query, and the item.

        Both [pairs]. Costs what the users of the queries did, once for each user, and the pairs.
        """
        rows, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        users = self.users
        order = np.argsort(users, kind="stable")
        bounds = np.flatnonzero(np.diff(users[order], prepend=-1, append=-1))
        for begin, end in pairwise(bounds.tolist() if self.exclude != "none" else []):
            mine = order[begin:end]  # the queries of one user
            start = int(self.starts[mine[0]])
            taken = self.log.items[start : int(self.stops[mine].max())]
            found = [_known_before(taken, self.stops[mine] - start)]
            if self.exclude == "seen" and self.viewed is not None:
                first, last = np.searchsorted(self.viewed.users, [users[mine[0]], users[mine[0]] + 1])
                before = np.searchsorted(self.viewed.times[first:last], self.times[mine])
                found.append(_known_before(self.viewed.items[first:last], before))
            each = np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])
            if len(found) > 1:  # taken and, at another time, only seen
                keys = np.unique(each[0] * len(self.log.item_ids) + each[1])
                each = keys // len(self.log.item_ids), keys % len(self.log.item_ids)
            rows.append(mine[each[0]])
            items.append(each[1].astype(np.int32))
        return np.concatenate(rows), np.concatenate(items)


def _known_before(items: NDArray[np.int32], lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different items among the first few of a list, for several numbers of them.

    Args:
        items: [events], oldest first.
        lengths: [queries] how many of them each query knows.

    Returns:
        the place in `lengths`, and the item: [pairs] both.
    """
    different, first = np.unique(items, return_index=True)
    order = np.argsort(first, kind="stable")
    counts = np.searchsorted(first[order], lengths)  # of the items by their first event
    rows = np.repeat(np.arange(len(lengths)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, different[order][within].astype(np.int64)
