"""Rows of histories: every training event is foretold once, from what lay strictly before it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.events.history_samples import QueryRows, TrainingRows, cut_pieces
from datamodules.events.negatives import Negatives
from lightning_tl.contracts.interactions import NO_ITEM, InteractionLog, Queries


def log_of(rows: list[tuple[int, int]], weights: bool = False) -> InteractionLog:
    """Events (user, time) in order; the item tells which event it was."""
    rows = sorted(rows)
    users, times = (np.array([row[k] for row in rows]) for k in range(2))
    return InteractionLog(
        users.astype(np.int32),
        np.arange(len(rows), dtype=np.int32),
        times.astype(np.int64),
        ["u"] * 4,
        ["i"] * max(1, len(rows)),
        np.linspace(1, 2, len(rows)).astype(np.float32) if weights else None,
    )


def rows_of(log: InteractionLog, counts: np.ndarray, length: int, **options) -> TrainingRows:
    pieces = cut_pieces(log.user_starts()[:-1], counts, length)
    return TrainingRows(Queries.of(log, np.arange(len(log))), pieces, length, **options)


EVENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(EVENTS, st.integers(2, 7), st.integers(0, 12))
def test_each_training_event_is_foretold_once_from_its_past(rows, length: int, cut: int) -> None:
    log = log_of(rows)
    trained = log.times <= cut
    counts = np.bincount(log.users[trained], minlength=4)
    samples = rows_of(log, counts, length)
    if len(samples.pieces) == 0:
        assert not trained.any()
        return
    batch = samples.fetch(np.arange(len(samples.pieces)), epoch=0)
    assert sorted(batch["index"].tolist()) == np.flatnonzero(trained).tolist()
    for row, position, event, target in zip(
        *(batch[name].tolist() for name in ("row", "position", "index", "target")), strict=True
    ):
        past = [k for k in range(len(log)) if log.users[k] == log.users[event] and log.times[k] < log.times[event]]
        read = batch["history"][row, :position].tolist()
        assert read == past[len(past) - len(read) :]  # the newest of its past, nothing else
        tied = sum(log.times[k] == log.times[event] and log.users[k] == log.users[event] for k in range(event))
        if tied < length // 2:
            assert len(read) >= min(len(past), length - length // 2 - tied)
        assert target == log.items[event] and batch["user"][row] == log.users[event]
    assert int(batch["history"].max()) < len(log) and not set(batch["history"].unique().tolist()) & set(
        np.flatnonzero(~trained).tolist()
    )


def test_the_first_events_see_a_growing_row() -> None:
    log = log_of([(0, time) for time in range(11)])
    samples = rows_of(log, np.array([11, 0, 0, 0]), 4)
    batch = samples.fetch(np.arange(len(samples.pieces)), 0)
    assert batch["history"].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert batch["target"].tolist() == list(range(11))
    assert batch["position"].tolist() == [0, 1, 2, 3, 4, 3, 4, 3, 4, 3, 4]


def test_a_few_queries_of_a_row_change_with_the_epoch() -> None:
    log = log_of([(0, time) for time in range(30)], weights=True)
    samples = rows_of(log, np.array([30, 0, 0, 0]), 50, most=5, seed=3)
    first, again, other = (samples.fetch(np.arange(1), epoch) for epoch in (0, 0, 1))
    assert len(first["index"]) == 5 and first["index"].tolist() == again["index"].tolist()
    assert first["index"].tolist() != other["index"].tolist()
    np.testing.assert_allclose(first["weight"], np.asarray(log.weights)[first["index"].numpy()])


def test_evaluation_rows_hold_the_newest_items() -> None:
    log = log_of([(0, 1), (0, 2), (0, 2), (0, 3), (0, 4), (1, 1)])
    rows = QueryRows(Queries.of(log, np.array([4, 2, 5])), 3)
    batch = rows.fetch(np.array([0, 1, 2]), 0)
    assert batch["history"].tolist() == [[1, 2, 3], [0, NO_ITEM, NO_ITEM], [NO_ITEM] * 3]
    assert batch["position"].tolist() == [3, 1, 0] and batch["row"].tolist() == [0, 1, 2]


def test_uniform_negatives_are_different_items_and_repeat_with_the_seed() -> None:
    drawn = [Negatives(np.arange(23) < 20, 8, 0, None, None, seed).draw(np.zeros(3, int), np.zeros(3, int), epoch, 4)[0]
             for seed, epoch in ((1, 0), (1, 0), (2, 0), (1, 1))]  # fmt: skip
    assert len(set(drawn[0].tolist())) == 8 and drawn[0].tolist() == drawn[1].tolist()
    assert drawn[0].tolist() != drawn[2].tolist() and drawn[0].tolist() != drawn[3].tolist()
    everything = Negatives(np.arange(23) < 20, 20, 0, None, None, 0).draw(np.zeros(1, int), np.zeros(1, int), 0, 0)[0]
    assert sorted(everything.tolist()) == list(range(20))


def test_hard_negatives_were_seen_and_not_taken_or_are_of_the_same_category() -> None:
    viewed = InteractionLog(
        np.array([0, 0, 2], np.int32), np.array([7, 8, 9], np.int32), np.zeros(3, np.int64), ["u"] * 3, ["i"] * 10
    )
    categories = np.array([0, 0, 0, 1, 1, 1, -1, 2, 2, 2])
    negatives = Negatives(np.arange(10) != 5, 0, 1, viewed, categories, seed=0)
    found = {user: set() for user in range(3)}
    for epoch in range(40):
        for user in range(3):
            found[user] |= set(negatives.draw(np.array([user]), np.array([3]), epoch, 0)[1].tolist())
    assert found == {0: {7, 8}, 1: {4}, 2: {9}}  # user 1 saw nothing: the other item of the target's category
    unknown = Negatives(np.arange(10) != 5, 0, 2, None, categories, 0).draw(np.array([1]), np.array([6]), 0, 0)[1]
    assert unknown.tolist() == []  # neither seen items nor a category


@pytest.mark.parametrize("length", [2, 3, 50])
def test_pieces_cover_long_users(length: int) -> None:
    counts = pd.Series([0, 1, 2, 49, 50, 51, 52, 500]).to_numpy()
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    pieces = cut_pieces(starts, counts, length)
    covered = np.concatenate([np.arange(a, b) for a, b in zip(pieces.first, pieces.stop, strict=True)])
    assert covered.tolist() == list(range(counts.sum()))
    assert (pieces.stop - pieces.begin <= length + 1).all() and (pieces.begin <= pieces.first).all()


def test_hard_negatives_are_half_of_a_mixed_batch() -> None:
    """One for each query, beside as many targets of the batch; uniform ones come on top."""
    viewed = InteractionLog(
        np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32), np.zeros(4, np.int64), ["u"] * 4, ["i"] * 20
    )
    negatives = Negatives(np.ones(20, bool), 7, 1, viewed, None, seed=0)
    users, targets = np.arange(4).repeat(5), np.arange(20)
    uniform, hard = negatives.draw(users, targets, 0, 0)
    assert len(hard) == len(targets) and hard.tolist() == users.tolist() and len(uniform) == 7
