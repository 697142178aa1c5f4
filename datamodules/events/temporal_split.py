"""Windows of time: what a model learns from, what it is chosen on, and what it is tested on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from datamodules.events.reading.event_times import as_date
from lightning_tl.contracts.interactions import InteractionLog


@dataclass(frozen=True)
class Windows:
    """Which events are for what, as numbers of events in the log, rising.

    Args:
        train: [events for training] int64.
        validation: [events for validation] int64.
        test: [events for test] int64.
        validation_start: first second of the validation window, UTC; None where events are not parted by time.
        test_start: first second of the test window, likewise.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    validation_start: int | None = None
    test_start: int | None = None

    def without(self, dropped: NDArray[np.bool_]) -> Windows:
        """The same windows over the events that are left.

        Args:
            dropped: [events].
        """
        numbers = np.cumsum(~dropped) - 1
        train, validation, test = (numbers[p[~dropped[p]]] for p in (self.train, self.validation, self.test))
        return Windows(train, validation, test, self.validation_start, self.test_start)


def newest_of_training(log: InteractionLog, windows: Windows, most: int) -> NDArray[np.bool_]:
    """Which events are kept where each user may have so many to train on: the newest, and all of later windows.

    Returns:
        [events].
    """
    training = np.zeros(len(log), np.int64)
    training[windows.train] = 1
    until = np.cumsum(training)  # training events up to and with each event
    ends = np.append(until, until[-1] if len(until) else 0)[log.user_starts()[1:] - 1]
    behind = ends[log.users] - until  # newer training events of the same user
    kept: NDArray[np.bool_] = (training == 0) | (behind < most)
    return kept


def temporal_split(log: InteractionLog, validation: float | str | int = 0.1, test: float | str | int = 0.1) -> Windows:
    """Part events at two points in time, the same for all users.

    Every event of an earlier window is strictly before every event of a later one, so nothing that is learned from the
    training window was not known when the first event of the others happened:

    >>> times, ids = np.array([10, 30, 50, 20, 40, 40]), ["a", "b"]
    >>> log = InteractionLog(np.array([0, 0, 0, 1, 1, 1]), np.arange(6), times, ids, list("uvwxyz"))
    >>> windows = temporal_split(log, validation=0.2, test=0.2)
    >>> times[windows.train].max() < times[windows.validation].min()
    np.True_
    >>> times[windows.validation].max() < times[windows.test].min()
    np.True_

    A share is turned into a time: that of the event at this place in the order of time. All events from that second on
    are in the later window, so events of one second are never parted, and windows can be larger than their shares.

    Args:
        log: all events.
        validation: where the validation window begins, at whose end the test window does. A float is its share of all
            events, an int a time in UTC seconds, a text a date such as "2024-05-01" or "2024-05-01T12:00", in UTC where
            it has no time zone.
        test: where the test window begins, likewise; it goes on to the end.

    Raises:
        ValueError: for shares out of range, texts that are no dates, windows without events or in the wrong order, and
            fewer than 3 events.
    """
    _check_size(log)
    shares = [share for share in (validation, test) if isinstance(share, float)]
    if not all(0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise ValueError(
            f"shares must be in (0, 1) and leave some events for training, got validation={validation}, test={test}"
        )
    times = np.sort(log.times)
    total, span = len(times), f"{as_date(int(times[0]))} to {as_date(int(times[-1]))}"
    if times[0] == times[-1]:
        raise ValueError(
            f"all {total:,} events are of one second, {as_date(int(times[0]))}, and cannot be parted by time: is the "
            "column of times the right one? The split leave_last_out needs no times"
        )
    if isinstance(test, float):
        before_test = total - round(total * test)
        test_start = _time_at(times, before_test, "test", test)
    else:
        test_start = _seconds(test, "test")
        before_test = int(np.searchsorted(times, test_start))
        if before_test < 2:
            raise ValueError(
                f"test begins at {as_date(test_start)}, with {before_test} of {total:,} events before it, which are "
                f"from {span}; set test to a later time"
            )
    if isinstance(validation, float):
        share = validation + test if isinstance(test, float) else validation
        end = total if isinstance(test, float) else before_test
        validation_start = _time_at(times, end - round(total * share), "validation", validation)
    else:
        validation_start = _seconds(validation, "validation")
    if validation_start > test_start:
        raise ValueError(
            f"validation must begin before test, got {as_date(validation_start)} and {as_date(test_start)}; set "
            "validation to an earlier time"
        )
    windows = Windows(
        np.flatnonzero(log.times < validation_start),
        np.flatnonzero((log.times >= validation_start) & (log.times < test_start)),
        np.flatnonzero(log.times >= test_start),
        validation_start,
        test_start,
    )
    _check_windows(windows, int(times[0]), int(times[-1]))
    return windows


def leave_last_out(log: InteractionLog) -> Windows:
    """Each user's last event is for test, the one before for validation, all others for training.

    This leaks: training sees events that happened after other users' test events, such as what became popular since,
    so figures are better than they can be in use. It serves to compare with papers that split so; `temporal_split` is
    for everything else. Of events of the same second, the last one in the file is the last. Users with fewer than 3
    events are in training only.

    Raises:
        ValueError: fewer than 3 events, or no user who has 3.
    """
    _check_size(log)
    starts = log.user_starts()
    ends = starts[1:][np.diff(starts) >= 3]
    if len(ends) == 0:
        raise ValueError(
            f"no user has the 3 events that leave_last_out needs, of {len(log.user_ids):,} users with {len(log):,} "
            "events; use temporal_split"
        )
    train = np.ones(len(log), bool)
    train[ends - 1] = train[ends - 2] = False
    return Windows(np.flatnonzero(train), ends - 2, ends - 1)


def are_coarse(times: NDArray[np.int64]) -> bool:
    """Whether times say too little of what came first: all of one second, or all at midnight.

    Args:
        times: [events] seconds since 1970 in UTC.
    """
    return len(times) > 0 and bool((times == times[0]).all() or (times % 86_400 == 0).all())


def _time_at(times: NDArray[np.int64], place: int, name: str, share: float) -> int:
    """The time of the event at a place in the order of time."""
    if not 0 <= place < len(times):
        raise ValueError(
            f"{name} must be a share that gives it at least 1 event and leaves some before it, got {share} of "
            f"{len(times):,} events; set {name} to another share"
        )
    return int(times[place])


def _seconds(start: str | int, name: str) -> int:
    """UTC seconds of a window's start."""
    if not isinstance(start, str):
        if isinstance(start, bool) or not isinstance(start, int | np.integer):
            raise ValueError(f"{name} must be a share, a date or UTC seconds, got {start!r}")
        return int(start)
    try:
        date = datetime.fromisoformat(start.strip())
    except ValueError:
        raise ValueError(
            f"{name} must be a share such as 0.1, UTC seconds, or a date such as 2024-05-01, got '{start}'"
        ) from None
    return math.ceil((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())


def _check_size(log: InteractionLog) -> None:
    if len(log) < 3:
        raise ValueError(f"a split into three windows needs at least 3 events, got {len(log)}")


def _check_windows(windows: Windows, first: int, last: int) -> None:
    for name in ("train", "validation", "test"):
        if len(getattr(windows, name)):
            continue
        cut = windows.test_start if name == "test" else windows.validation_start
        ends = f" and ends before {as_date(windows.test_start or 0)}" if name == "validation" else ""
        begins = "ends before" if name == "train" else "begins at"
        total = sum(len(part) for part in (windows.train, windows.validation, windows.test))
        raise ValueError(
            f"the {name} window is empty: it {begins} {as_date(cut or 0)}{ends}, and the {total:,} events are from "
            f"{as_date(first)} to {as_date(last)}; set validation and test to other times or larger shares"
        )
