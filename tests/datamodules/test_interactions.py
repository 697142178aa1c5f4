"""Event logs and the histories of queries: what lies strictly before, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tl.contracts import interactions
from lightning_tl.contracts.interactions import NO_ITEM, InteractionLog, Queries


def log_of(rows: list[tuple[int, int, int]], users: int = 4, items: int = 9) -> InteractionLog:
    """A log of (user, time, item), sorted as a log must be."""
    rows = sorted(rows, key=lambda row: row[:2])
    columns = [np.array([row[k] for row in rows]) for k in range(3)] if rows else [np.zeros(0)] * 3
    user_ids, item_ids = [f"u{k}" for k in range(users)], [f"i{k}" for k in range(items)]
    return InteractionLog(
        columns[0].astype(np.int32), columns[2].astype(np.int32), columns[1].astype(np.int64), user_ids, item_ids
    )


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 8)), max_size=40)


@settings(deadline=None)
@given(ROWS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_histories_are_what_a_slow_search_finds(rows: list[tuple[int, int, int]], last: int, random) -> None:
    log = log_of(rows)
    events = np.array(sorted(random.sample(range(len(log)), len(log) // 2)), dtype=np.int64)
    queries = Queries.of(log, events)
    seen_rows, seen_items = queries.seen()
    table = queries.history(last)
    for number, event in enumerate(events):
        user, time = log.users[event], log.times[event]
        past = [int(log.items[k]) for k in range(len(log)) if log.users[k] == user and log.times[k] < time]
        newest = past[-last:]
        assert table[number].tolist() == newest + [NO_ITEM] * (last - len(newest))
        assert sorted(seen_items[seen_rows == number].tolist()) == sorted(set(past))
        assert queries.lengths[number] == len(past)
        assert (queries.users[number], queries.times[number]) == (user, time)
        assert queries.targets[number] == log.items[event]


@settings(deadline=None)
@given(ROWS, ROWS, st.sampled_from(["taken", "seen", "none"]))
def test_what_is_not_offered_again(rows: list[tuple[int, int, int]], views: list[tuple[int, int, int]], rule) -> None:
    log, viewed = log_of(rows), log_of(views)
    queries = Queries.of(log, np.arange(len(log)), rule, viewed)
    for part in (queries, queries[np.arange(len(log))[::-1]]):
        seen_rows, seen_items = part.seen()
        for number, (user, time) in enumerate(zip(part.users, part.times, strict=True)):
            taken = {item for who, when, item in rows if who == user and when < time}
            only_seen = {item for who, when, item in views if who == user and when < time}
            expected = {"taken": taken, "seen": taken | only_seen, "none": set()}[rule]
            assert sorted(seen_items[seen_rows == number].tolist()) == sorted(expected)  # each once


def test_events_of_one_second_may_be_taken_in_order() -> None:
    log = log_of([(0, 5, item) for item in (3, 1, 2)] + [(1, 5, 4)])
    assert Queries.of(log, np.arange(4)).lengths.tolist() == [0, 0, 0, 0]
    assert Queries.of(log, np.arange(4), in_order=True).lengths.tolist() == [0, 1, 2, 0]


@settings(deadline=None)
@given(ROWS, st.integers(0, 6))
def test_what_happens_later_changes_nothing(rows: list[tuple[int, int, int]], now: int) -> None:
    """The future, here all events from `now` on, is replaced by another: histories of queries at `now` stay."""
    past = [row for row in rows if row[1] < now]
    asked = [(user, now, 0) for user in range(4)]
    other = [(user, time + 10, 8 - item) for user, time, item in rows]
    found = []
    for future in ([row for row in rows if row[1] > now], other):
        log = log_of([*past, *asked, *future])
        queries = Queries.of(log, np.flatnonzero((log.times == now) & (log.items == 0)))
        found.append((queries.history(40).tolist(), queries.lengths.tolist()))
    assert found[0] == found[1]


def test_queries_can_be_cut() -> None:
    queries = Queries.of(log_of([(0, 1, 1), (0, 2, 2), (0, 3, 3), (1, 1, 4)]), np.arange(4))
    assert queries[1:3].targets.tolist() == [2, 3]
    assert queries[np.array([2, 0])].history(2).tolist() == [[1, 2], [NO_ITEM, NO_ITEM]]
    with pytest.raises(ValueError, match="at least 1 event, got last=0"):
        queries.history(0)


def test_selected_events_keep_the_numbers() -> None:
    log = log_of([(0, 1, 1), (2, 2, 2), (2, 3, 3)])
    kept = log.select(log.items != 2)
    assert kept.users.tolist() == [0, 2] and kept.items.tolist() == [1, 3] and kept.item_ids is log.item_ids
    assert kept.user_starts().tolist() == [0, 1, 1, 2, 2]
    assert kept.item_counts().tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 0] and kept.user_counts().tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("users", "items", "times", "message"),
    [
        ([0, 1], [0, 9], [1, 1], "item numbers must be from 0 to 8, got 0 to 9"),
        ([-1, 1], [0, 1], [1, 1], "user numbers must be from 0 to 3"),
        ([1, 0], [0, 1], [1, 1], "sorted by user"),
        ([0, 0], [0, 1], [2, 1], "sorted by user, then by time"),
        ([0, 0], [0, 1], [2], "lists of one length"),
    ],
)
def test_what_is_no_log(users: list[int], items: list[int], times: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InteractionLog(
            np.array(users, np.int32), np.array(items, np.int32), np.array(times, np.int64), ["u"] * 4, ["i"] * 9
        )


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_first_takes_are_those_of_a_loop(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactions, "_AT_ONCE", at_once)  # whole users, however long
    generator = np.random.default_rng(at_once)
    users = np.sort(generator.integers(0, 9, 200)).astype(np.int32)
    items = generator.integers(0, 12, 200).astype(np.int32)
    log = InteractionLog(users, items, np.arange(200), ["u"] * 9, ["i"] * 12)
    seen: set[tuple[int, int]] = set()
    expected = []
    for pair in zip(users.tolist(), items.tolist(), strict=True):
        expected.append(pair not in seen)
        seen.add(pair)
    assert log.first_takes().tolist() == expected
