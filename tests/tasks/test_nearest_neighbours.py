"""Neighbours against a loop over pairs, with draws and blocks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightning_tl.metrics.nearest_neighbours import NearestNeighbours

Array = NDArray[np.float64]


def _slow(known: Array, labels: Sequence[int], query: Array, k: int, allowed: Sequence[bool]) -> int:
    """The vote for one query, pair by pair."""

    def cosine(a: Array, b: Array) -> float:
        lengths = float(np.sqrt(sum(a * a)) * np.sqrt(sum(b * b)))
        return round(float(sum(a * b)) / lengths, 12) if lengths else 0.0

    near = sorted((-cosine(row, query), place) for place, row in enumerate(known) if allowed[place])[:k]
    votes = Counter(int(labels[place]) for _, place in near)
    return next(int(labels[p]) for _, p in near if votes[int(labels[p])] == max(votes.values()))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(12, 30),
    k=st.integers(1, 6),
    whole=st.booleans(),
    blocked=st.booleans(),
)
def test_votes_are_those_of_a_loop(seed: int, n: int, k: int, whole: bool, blocked: bool) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 3))
    features = np.round(features) if whole else features  # many draws, and rows of zeros
    features[0] = [1, 2, 3]
    features[1] = [-1, 0, 1]
    labels = np.concatenate([[0, 1], random.integers(3, size=n - 2)])
    blocks = np.arange(n) // 3 if blocked else np.arange(n)
    neighbours = NearestNeighbours(features, labels, k, blocks)
    queries = random.normal(size=(5, 3))
    expected = [_slow(features, labels, query, k, [True] * n) for query in queries]
    assert neighbours.predict(queries).tolist() == expected
    apart = [_slow(features, labels, row, k, list(blocks != blocks[i])) for i, row in enumerate(features)]
    assert neighbours.leave_one_out().tolist() == apart


def test_many_samples_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(50, 4)), random.integers(2, size=50)
    whole = NearestNeighbours(features, labels).leave_one_out()
    monkeypatch.setattr("lightning_tl.metrics.nearest_neighbours._CELLS_AT_ONCE", 150)
    assert NearestNeighbours(features, labels).leave_one_out().tolist() == whole.tolist()


def test_scale_says_nothing_and_no_query_is_no_trouble() -> None:
    features, labels = np.array([[1, 0], [2, 0.1], [0, 1], [0.1, 2.0]]), [0, 0, 1, 1]
    for scale in (1e-200, 1.0, 1e200):
        assert NearestNeighbours(scale * features, labels, 1).leave_one_out().tolist() == labels
    assert NearestNeighbours(features, labels, 1).predict(np.zeros((0, 2))).tolist() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be at least 1 neighbour, got 0"),
        ({"k": 7}, "7 neighbours are asked for, but there are 6 samples"),
        ({"labels": [2] * 6}, "all 6 samples are of one class"),
        ({"labels": [0, 1]}, "one class for each of 6 samples"),
        ({"labels": [0, 1, -1, 0, 1, 1]}, "leave out samples without a label"),
        ({"features": np.ones((6, 2))}, "the same for all 6 samples"),
        ({"features": np.full((6, 2), np.inf)}, "must be finite"),
        ({"blocks": [1, 2]}, "one block for each of 6 samples"),
    ],
)
def test_mistakes(arguments: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"features": np.eye(6), "labels": [0, 1] * 3, "k": 2, **arguments}
    with pytest.raises(ValueError, match=message):
        NearestNeighbours(**given)  # type: ignore[arg-type]


def test_neighbours_outside_of_a_block_may_be_too_few() -> None:
    neighbours = NearestNeighbours(np.eye(6), [0, 1] * 3, 2, [0, 0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="as few as 1 others outside of its block"):
        neighbours.leave_one_out()
    with pytest.raises(ValueError, match=r"features must be \[samples, 6\], got \[2, 3\]"):
        neighbours.predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="those of 1 are not"):
        neighbours.predict(np.full((1, 6), np.nan))


def slow_vote(train: list[list[float]], classes: list[int], query: list[float], k: int, temperature: float) -> int:
    def cosine(one: list[float], other: list[float]) -> float:
        products = sum(a * b for a, b in zip(one, other, strict=True))
        return products / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5

    nearest = sorted(range(len(train)), key=lambda at: -cosine(train[at], query))[:k]
    votes: dict[int, float] = {}
    for at in nearest:
        votes[classes[at]] = votes.get(classes[at], 0.0) + math.exp(cosine(train[at], query) / temperature)
    return max(votes, key=lambda name: votes[name])


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (40, 1.0)])
def test_weighted_votes_are_those_of_a_slow_count(k: int, temperature: float) -> None:
    draws = np.random.default_rng(k)
    train, queries, classes = draws.normal(size=(40, 6)), draws.normal(size=(25, 6)), draws.integers(0, 4, 40)
    expected = [slow_vote(train.tolist(), classes.tolist(), query, k, temperature) for query in queries.tolist()]
    found = NearestNeighbours(train * 50, classes, k, temperature=temperature).predict(queries * 0.1)
    assert found.tolist() == expected
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        NearestNeighbours(train, classes, k, temperature=0)
