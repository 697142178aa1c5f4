"""Windows of time: strictly one after the other, and blind to what comes later."""

from __future__ import annotations

import doctest
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.events import temporal_split as module
from datamodules.events.temporal_split import Windows, are_coarse, leave_last_out, newest_of_training, temporal_split
from lightning_tl.contracts.interactions import InteractionLog

MAY = 1714521600  # 2024-05-01 00:00 UTC
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 8)), min_size=3, max_size=60)


def training_counts(log: InteractionLog, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Events of each item and of each user in the training window, as models and baselines see it."""
    train = log.select(np.isin(np.arange(len(log)), windows.train))
    return train.item_counts(), train.user_counts()


def log_of(rows: list[tuple[int, int, int]], users: int = 4, items: int = 9) -> InteractionLog:
    """A log of (user, time, item)."""
    rows = sorted(rows, key=lambda row: row[:2])
    user, time, item = (np.array([row[k] for row in rows], np.int64) for k in range(3))
    ids = [f"u{k}" for k in range(users)], [f"i{k}" for k in range(items)]
    return InteractionLog(user.astype(np.int32), item.astype(np.int32), time, *ids)


def log_at(*times: int) -> InteractionLog:
    """A log of one user."""
    return log_of([(0, time, 0) for time in times])


def sizes(windows: Windows) -> tuple[int, int, int]:
    return len(windows.train), len(windows.validation), len(windows.test)


def slowly(log: InteractionLog, validation: float, test: float) -> tuple[list[list[int]], int, int]:
    """The windows by plain loops; some may be empty."""
    times = sorted(int(time) for time in log.times)
    test_start = times[len(times) - round(len(times) * test)]
    validation_start = times[len(times) - round(len(times) * (validation + test))]
    windows: list[list[int]] = [[], [], []]
    for event, time in enumerate(log.times):
        windows[int(time >= validation_start) + int(time >= test_start)].append(event)
    return windows, validation_start, test_start


@settings(deadline=None)
@given(ROWS, st.sampled_from([0.1, 0.2, 0.25, 0.4]), st.sampled_from([0.1, 0.2, 0.3, 0.5]))
def test_windows_are_what_slow_loops_find(rows, validation: float, test: float) -> None:
    log = log_of(rows)
    if round(len(log) * test) == 0 and len(set(log.times.tolist())) > 1:
        with pytest.raises(ValueError, match="test must be a share that gives it at least 1 event"):
            temporal_split(log, validation, test)
        return
    if len(set(log.times.tolist())) == 1:
        with pytest.raises(ValueError, match="events are of one second"):
            temporal_split(log, validation, test)
        return
    expected, validation_start, test_start = slowly(log, validation, test)
    if not all(expected):
        with pytest.raises(ValueError, match="window is empty"):
            temporal_split(log, validation, test)
        return
    windows = temporal_split(log, validation, test)
    parts = [windows.train, windows.validation, windows.test]
    assert [part.tolist() for part in parts] == expected and all(part.dtype == np.int64 for part in parts)
    assert (windows.validation_start, windows.test_start) == (validation_start, test_start)
    for earlier, later in pairwise(parts):
        assert log.times[earlier].max() < log.times[later].min()
    items, users = training_counts(log, windows)
    for counts, numbers in ((items, log.items), (users, log.users)):
        assert counts.tolist() == [sum(numbers[event] == k for event in expected[0]) for k in range(len(counts))]


@settings(deadline=None)
@given(ROWS, st.integers(5, 25), st.integers(1, 40), st.integers(0, 3))
def test_a_planted_future_changes_nothing_before_it(rows, start: int, garbage: int, user: int) -> None:
    """From the test window on everything is replaced: more events, other times, users and items."""
    past = [row for row in [*rows, (0, 0, 1), (1, 3, 2)] if row[1] < start]
    future = [row for row in [*rows, (2, start, 3)] if row[1] >= start]
    planted = [(user, start + 7 * k % 50, (3 * k) % 9) for k in range(garbage)]
    found = []
    for later in (future, planted):
        log = log_of([*past, *later])
        windows = temporal_split(log, 2, start)
        kept = [
            np.stack([log.users[part], log.times[part], log.items[part]]).T.tolist()
            for part in (windows.train, windows.validation)
        ]
        counts = [values.tolist() for values in training_counts(log, windows)]
        found.append((kept, counts, windows.validation_start, windows.test_start))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("validation", "test", "expected"),
    [
        (0.2, 0.2, (6, 2, 2)),
        ("2024-05-01", "2024-05-02", (3, 4, 3)),
        (" 2024-05-01T00:00:00Z", "2024-05-02T02:00+02:00", (3, 4, 3)),
        ("2024-04-30T23:59:59.5", "2024-05-02 00:00:00.000001", (3, 5, 2)),
        (MAY, MAY + 86400, (3, 4, 3)),
        (np.int64(MAY), 0.1, (3, 6, 1)),
        (0.3, "2024-05-02", (4, 3, 3)),
        ("2024-05-01", 0.2, (3, 5, 2)),
    ],
)
def test_shares_dates_and_seconds(validation, test, expected: tuple[int, int, int]) -> None:
    days = [-3, -2, -1, 0, 0.2, 0.4, 0.6, 1, 2, 3]
    assert sizes(temporal_split(log_at(*(MAY + int(86400 * day) for day in days)), validation, test)) == expected


def test_events_of_one_second_are_never_parted() -> None:
    """The event at place 8 of 10 happened in second 7, and so did two others: all of them are tested on."""
    windows = temporal_split(log_at(1, 2, 3, 4, 5, 6, 7, 7, 7, 8), 0.4, 0.2)
    assert sizes(windows) == (4, 2, 4) and (windows.validation_start, windows.test_start) == (5, 7)


def test_the_shares_are_of_all_events_of_all_users() -> None:
    log = log_of([(user, 10 * place + user, place) for user in range(4) for place in range(9)])
    windows = temporal_split(log, 0.25, 0.25)
    assert sizes(windows) == (18, 9, 9) and (windows.validation_start, windows.test_start) == (42, 63)


EARLY, LATE = log_at(*range(MAY, MAY + 10)), log_at(MAY, MAY, MAY, MAY + 5, MAY + 5)


@pytest.mark.parametrize(
    ("log", "validation", "test", "message"),
    [
        (EARLY, 0.0, 0.1, r"shares must be in \(0, 1\) .*, got validation=0.0, test=0.1"),
        (EARLY, 0.1, 1.5, r"shares must be in \(0, 1\)"),
        (EARLY, 0.5, 0.5, "leave some events for training, got validation=0.5, test=0.5"),
        (EARLY, float("nan"), 0.5, "shares must be in"),
        (
            EARLY,
            0.5,
            0.01,
            "test must be a share that gives it at least 1 event .*, got 0.01 of 10 events; set test to",
        ),
        (EARLY, 0.1, "May 2024", "test must be a share such as 0.1, UTC seconds, or a date .*, got 'May 2024'"),
        (EARLY, "2024-02-30", 0.1, "validation must be a share .*, got '2024-02-30'"),
        (EARLY, True, 0.1, "validation must be a share, a date or UTC seconds, got True"),
        (
            EARLY,
            MAY + 5,
            MAY + 4,
            "validation must begin before test, got 2024-05-01 00:00:05 UTC and 2024-05-01 00:00",
        ),
        (EARLY, MAY + 5, MAY + 5, "the validation window is empty: it begins at 2024-05-01 00:00:05 UTC and ends bef"),
        (EARLY, MAY, MAY + 5, "the train window is empty: it ends before 2024-05-01 00:00:00 UTC, and the 10 events"),
        (EARLY, 0.2, "2024-05-02", "the test window is empty: it begins at 2024-05-02 00:00:00 UTC, and the 10 events"),
        (EARLY, 0.9, MAY + 5, "validation must be a share that gives it at least 1 event and leaves some before it"),
        (LATE, 0.2, 0.2, "the validation window is empty: .* set validation and test to other times or larger shares"),
        (log_at(MAY, MAY, MAY, MAY), 0.3, 0.3, "all 4 events are of one second, 2024-05-01 00:00:00 UTC"),
        (
            EARLY,
            0.1,
            MAY - 5,
            "test begins at 2024-04-30 23:59:55 UTC, with 0 of 10 events before it, .*set test to a la",
        ),
        (EARLY, 0.1, 1, "test begins at 1970-01-01 00:00:01 UTC, with 0 of 10 events before it"),
        (log_at(1, 2), 0.3, 0.3, "needs at least 3 events, got 2"),
    ],
)
def test_windows_that_cannot_be(log: InteractionLog, validation, test, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        temporal_split(log, validation, test)


@settings(deadline=None)
@given(ROWS)
def test_last_events_are_what_slow_loops_find(rows) -> None:
    log = log_of(rows)
    expected: list[list[int]] = [[], [], []]
    for user in range(4):
        mine = [event for event in range(len(log)) if log.users[event] == user]
        for place, event in enumerate(mine):
            left = len(mine) - place
            expected[0 if len(mine) < 3 or left > 2 else 3 - left].append(event)
    if not expected[2]:
        with pytest.raises(ValueError, match="no user has the 3 events that leave_last_out needs"):
            leave_last_out(log)
        return
    windows = leave_last_out(log)
    assert [part.tolist() for part in (windows.train, windows.validation, windows.test)] == expected
    assert windows.validation_start is None and windows.test_start is None


def test_of_one_second_the_last_in_the_file_is_last() -> None:
    log = log_of([(0, 5, 3), (0, 5, 1), (0, 5, 2)])
    windows = leave_last_out(log)
    assert [log.items[part].tolist() for part in (windows.train, windows.validation, windows.test)] == [[3], [1], [2]]
    with pytest.raises(ValueError, match="needs at least 3 events, got 2"):
        leave_last_out(log_at(1, 2))


def test_the_example_of_the_docstring_runs() -> None:
    result = doctest.testmod(module)
    assert result.attempted >= 4 and result.failed == 0


@settings(deadline=None)
@given(ROWS, st.integers(1, 4), st.sampled_from([0.1, 0.3]))
def test_the_newest_training_events_of_each_user_are_kept(rows, most: int, share: float) -> None:
    log = log_of(rows)
    train = np.sort(np.random.default_rng(len(rows)).permutation(len(log))[: round(len(log) * (1 - share))])
    rest = np.setdiff1d(np.arange(len(log)), train)
    kept = newest_of_training(log, Windows(train, rest[:1], rest[1:]), most)
    for user in range(len(log.user_ids)):
        own = [int(event) for event in train if log.users[event] == user]
        assert [event for event in own if kept[event]] == own[-most:]
    assert kept[rest].all()


@pytest.mark.parametrize(
    ("times", "coarse"),
    [
        ([], False),
        ([MAY], True),
        ([MAY, MAY + 86_400], True),
        ([MAY + 5, MAY + 5], True),
        ([MAY, MAY + 1], False),
        ([MAY + 1, MAY + 86_401], False),
    ],
)
def test_times_that_say_little(times: list[int], coarse: bool) -> None:
    assert are_coarse(np.array(times, np.int64)) is coarse
