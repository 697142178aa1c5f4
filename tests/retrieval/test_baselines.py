"""Baselines beside slow copies of what they say they do, and blind to everything after the training window."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_retrieval import tiny_data

from lightning_tl.contracts.interactions import InteractionLog, Queries
from lightning_tl.retrieval.baselines import EASE, ItemSimilarity, Popularity, RecentPopularity
from lightning_tl.retrieval.judging.chosen_baselines import ChosenBaselines
from lightning_tl.retrieval.ranking.ranking import Scorer, ranks

ITEMS = 8
DAY = 86_400
ALL = slice(0, ITEMS)


def log_of(rows: list[tuple[int, int, int]], weights: np.ndarray | None = None) -> InteractionLog:
    """A log of (user, time, item)."""
    columns = np.array(sorted(rows, key=lambda row: row[:2]), dtype=np.int64).reshape(-1, 3).T
    ids = [f"u{k}" for k in range(5)], [f"i{k}" for k in range(ITEMS)]
    return InteractionLog(columns[0].astype(np.int32), columns[2].astype(np.int32), columns[1], *ids, weights)


def all_queries(log: InteractionLog) -> Queries:
    return Queries.of(log, np.arange(len(log)))


def history_of(queries: Queries, row: int, last: int) -> list[int]:
    """Items of the newest events strictly before the query, oldest first."""
    log, event = queries.log, queries.events[row]
    user, time = log.users[event], log.times[event]
    return [int(log.items[k]) for k in range(len(log)) if log.users[k] == user and log.times[k] < time][-last:]


def order(scores: torch.Tensor) -> list[int]:
    """Place of each score among the different ones, 0 for the lowest."""
    kinds = sorted(set(scores.tolist()))
    return [kinds.index(score) for score in scores.tolist()]


EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(0, ITEMS - 1)), min_size=1, max_size=40)


@settings(deadline=None)
@given(EVENTS)
def test_popularity_counts_events(rows: list[tuple[int, int, int]]) -> None:
    log = log_of(rows)
    counts = [sum(1 for _, _, item in rows if item == k) for k in range(ITEMS)]
    popularity = Popularity(log, ITEMS)
    assert popularity.counts.tolist() == counts
    scores = popularity.scores(all_queries(log), ALL)
    assert scores.dtype == torch.float32 and scores.shape == (len(log), ITEMS)
    assert all(order(row) == order(torch.tensor(counts)) for row in scores)
    assert torch.equal(popularity.scores(all_queries(log), slice(2, 5)), scores[:, 2:5])


@settings(deadline=None)
@given(EVENTS, st.sampled_from([0.5, 1, 3, 100]))
def test_recent_popularity_counts_the_last_days(rows: list[tuple[int, int, int]], days: float) -> None:
    rows = [(user, time * DAY // 2, item) for user, time, item in rows]
    log, end = log_of(rows), max(time for _, time, _ in rows)
    found = []
    for item in range(ITEMS):
        times = [time for _, time, other in rows if other == item]
        found.append((sum(1 for time in times if time > end - days * DAY), len(times)))
    places = [sorted(set(found)).index(pair) for pair in found]
    scorer = RecentPopularity(log, ITEMS, days)
    assert scorer.scores(all_queries(log)[:1], ALL)[0].tolist() == places


def paper_ease(log: InteractionLog, l2: float) -> np.ndarray:
    """The paper's listing: G = XᵀX, its diagonal plus λ, P = G⁻¹, B = P / -diag(P), diagonal 0."""
    x = np.zeros((5, ITEMS))
    for user, item in zip(log.users, log.items, strict=True):
        x[user, item] = 1
    gram = x.T @ x
    gram[np.diag_indices(ITEMS)] += l2
    inverse = np.linalg.inv(gram)
    weights = inverse / (-np.diag(inverse))
    weights[np.diag_indices(ITEMS)] = 0
    return weights


@settings(deadline=None)
@given(EVENTS, EVENTS, st.sampled_from([0.1, 1.0, 50.0]), st.integers(1, 6))
def test_ease_is_that_of_the_paper(
    training: list[tuple[int, int, int]], asked: list[tuple[int, int, int]], l2: float, last: int
) -> None:
    log, queries = log_of(training), all_queries(log_of(asked))
    ease, weights = EASE(log, ITEMS, l2, last), paper_ease(log, l2)
    popular, known = Popularity(log, ITEMS).scores(queries, ALL), {item for _, _, item in training}
    scores = ease.scores(queries, ALL)
    assert scores.dtype == torch.float32
    for row in range(len(queries)):
        history = set(history_of(queries, row, last))
        expected = sum((weights[item] for item in history), np.zeros(ITEMS))
        if not history & known:
            expected = popular[row].numpy()
        assert scores[row].numpy() == pytest.approx(expected, abs=1e-5)
    parts = [ease.scores(queries, slice(start, min(start + 3, ITEMS))) for start in range(0, ITEMS, 3)]
    assert torch.equal(torch.cat(parts, dim=1), scores)


def test_ease_solves_the_papers_problem() -> None:
    """Equations 2 and 3: of all matrices with a diagonal of 0 it has the least squared error plus penalty."""
    generator = np.random.default_rng(0)
    rows = [(int(u), k, int(i)) for k, (u, i) in enumerate(generator.integers(0, (5, ITEMS), size=(25, 2)))]
    log, l2 = log_of(rows), 2.0
    x = np.zeros((5, ITEMS))
    x[log.users, log.items] = 1
    ease = EASE(log, ITEMS, l2, history=1)
    single = all_queries(log_of([(0, 2 * item, item) for item in range(ITEMS)] + [(0, 99, 0)]))[1:]
    best = ease.scores(single, ALL).numpy().astype(np.float64)  # histories of one item: the rows of B

    def loss(weights: np.ndarray) -> float:
        return float(((x - x @ weights) ** 2).sum() + l2 * (weights**2).sum())

    assert np.diag(best).tolist() == [0] * ITEMS
    for _ in range(50):
        step = generator.normal(size=best.shape) * 1e-2
        np.fill_diagonal(step, 0)
        assert loss(best + step) > loss(best)


def similarity(rows: list[tuple[int, int, int]], embeddings: torch.Tensor, last: int = 20) -> ItemSimilarity:
    return ItemSimilarity("texts", embeddings, Popularity(log_of(rows), ITEMS), last)


def vectors(seed: int = 0) -> torch.Tensor:
    """Eight items, three of them without an embedding."""
    table = torch.randn(ITEMS, 5, generator=torch.Generator().manual_seed(seed))
    table[1], table[4, 2], table[6, 0] = 0.0, math.nan, math.inf
    return table


@settings(deadline=None)
@given(EVENTS, st.integers(0, 50), st.integers(1, 6))
def test_similarity_is_the_cosine_with_the_history(rows: list[tuple[int, int, int]], seed: int, last: int) -> None:
    queries, table = all_queries(log_of(rows)), vectors(seed)
    scorer = similarity(rows, table, last)
    scores = scorer.scores(queries, ALL)
    popular = Popularity(log_of(rows), ITEMS).scores(queries, ALL)
    unit = {k: table[k].double() / math.sqrt(sum(x * x for x in table[k].tolist())) for k in (0, 2, 3, 5, 7)}
    for row in range(len(queries)):
        past = [unit[item] for item in history_of(queries, row, last) if item in unit]
        if not past:
            assert torch.equal(scores[row], popular[row])
            continue
        profile = sum(past) / len(past)
        expected = [float(profile @ unit[item]) if item in unit else -2.0 for item in range(ITEMS)]
        assert scores[row].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(scorer.scores(queries, slice(3, 7)), scores[:, 3:7])


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_similarity_does_not_depend_on_the_embeddings_lengths(scale: float) -> None:
    rows = [(0, k, k) for k in range(ITEMS)]
    queries = all_queries(log_of(rows))
    found = similarity(rows, vectors() * scale).scores(queries, ALL)
    torch.testing.assert_close(found, similarity(rows, vectors()).scores(queries, ALL))


def test_items_with_the_same_text_tie() -> None:
    """The target is behind every item of the same embedding, wherever they stand."""
    rows = [(0, k, k) for k in range(ITEMS)]
    scorer = similarity(rows, torch.randn(1, 384, generator=torch.Generator().manual_seed(0)).expand(ITEMS, -1))
    queries = all_queries(log_of(rows))[1:]
    assert ranks(scorer, queries, ITEMS, filter_seen=False, item_chunk=3).tolist() == [ITEMS] * 7


BASELINES: dict[str, Callable[[InteractionLog], Scorer]] = {
    "popularity": lambda log: Popularity(log, ITEMS),
    "recent": lambda log: RecentPopularity(log, ITEMS, 1),
    "EASE": lambda log: EASE(log, ITEMS, 1.0, 3),
    "similarity": lambda log: ItemSimilarity("texts", vectors(), Popularity(log, ITEMS), 3),
}


@pytest.mark.parametrize("name", list(BASELINES))
def test_what_happens_at_and_after_a_query_changes_no_score(name: str) -> None:
    """Two futures from second 10 on, the queries' own targets among what differs: the same scores."""
    generator = np.random.default_rng(2)
    past = [(int(u), int(t), int(i)) for u, t, i in generator.integers(0, (5, 10, ITEMS), size=(30, 3))]
    found = []
    for target, later in ((0, []), (7, [(user, 11 + k, k) for user in range(5) for k in range(ITEMS)])):
        log = log_of([*past, *((user, 10, target) for user in range(5)), *later])
        scorer = BASELINES[name](log.select(log.times < 10))
        found.append(scorer.scores(Queries.of(log, np.flatnonzero(log.times == 10)), ALL))
    assert torch.equal(*found)


@pytest.mark.parametrize("name", list(BASELINES))
def test_queries_do_not_depend_on_their_neighbours(name: str) -> None:
    generator = np.random.default_rng(4)
    log = log_of([(int(u), int(t), int(i)) for u, t, i in generator.integers(0, (5, 10, ITEMS), size=(40, 3))])
    scorer, queries = BASELINES[name](log), all_queries(log)
    every = scorer.scores(queries, ALL)
    for row in range(len(queries)):
        assert torch.equal(scorer.scores(queries[row : row + 1], ALL)[0], every[row])
    assert scorer.scores(queries[:0], ALL).shape == (0, ITEMS)
    assert (ranks(scorer, queries, ITEMS) >= 1).all()


def test_weights_of_events_are_not_used() -> None:
    rows = [(0, 0, 1), (1, 0, 1), (2, 0, 2)]
    weighted = log_of(rows, np.array([0.1, 0.1, 99.0], np.float32))
    assert Popularity(weighted, ITEMS).counts.tolist() == Popularity(log_of(rows), ITEMS).counts.tolist()


def test_what_is_refused() -> None:
    log, none = log_of([(0, 0, 1), (1, 0, 2)]), log_of([])
    popular = Popularity(log, ITEMS)
    cases = [
        (lambda: Popularity(none, ITEMS), "made from at least 1 event of the training window, got 0"),
        (lambda: EASE(none, ITEMS), "made from at least 1 event"),
        (lambda: RecentPopularity(none, ITEMS), "made from at least 1 event"),
        (lambda: Popularity(log, 7), "item_count must be at least the log's 8 items, got 7"),
        (lambda: RecentPopularity(log, ITEMS, 0), "days must be above 0, got 0"),
        (lambda: RecentPopularity(log, ITEMS, math.nan), "days must be above 0, got nan"),
        (lambda: EASE(log, ITEMS, l2=0), "l2 must be above 0, got 0"),
        (lambda: EASE(log, ITEMS, l2=math.inf), "l2 must be above 0, got inf"),
        (lambda: EASE(log, ITEMS, history=0), "history must be at least 1 event, got 0"),
        (lambda: EASE(log, 20_001), r"for 20,001 items 3.2 GB: raise max_items \(20,000\) if that is meant"),
        (lambda: EASE(log_of([(0, 0, 1), (0, 0, 2)]), ITEMS, l2=1e-300), "cannot be inverted with l2=1e-300: raise l2"),
        (lambda: ItemSimilarity("x", torch.zeros(7, 3), popular), r"\[8 items, dim\] as the fallback's items, got"),
        (lambda: ItemSimilarity("x", torch.zeros(8), popular), r"must be \[8 items, dim\]"),
        (lambda: ItemSimilarity("x", vectors(), popular, 0), "history must be at least 1 event, got 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


class Several(ChosenBaselines):
    def __init__(self, **options: Any) -> None:
        usual = {"recent_days": [7.0], "ease_l2": [1.0], "ease_history": [5], "text_history": [5]}
        super().__init__(**(usual | options))


def test_settings_are_those_that_do_best_in_validation(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    data.setup()
    log, asked = data.training_log, data.queries("validation")
    content = torch.randn(48, 8, generator=torch.Generator().manual_seed(0))
    chosen = Several(ease_l2=[1e6, 3.0, 30.0], ease_history=[1, 6], recent_days=[0.1, 0.6, 3.0], text_history=[1, 3, 6])
    found = chosen.scorers(log, 48, content, asked)
    popular = Popularity(log, 48)

    def score(scorer: Scorer) -> float:
        return float((1 / ranks(scorer, asked, 48)).mean())  # of fewer than 50 items the reciprocal rank tells more

    best = {
        "recent_popularity": max(score(RecentPopularity(log, 48, days)) for days in (0.1, 0.6, 3.0)),
        "ease": max(score(EASE(log, 48, l2, last)) for l2 in (1e6, 3.0, 30.0) for last in (1, 6)),
        "zero_shot_text": max(score(ItemSimilarity("text", content, popular, last)) for last in (1, 3, 6)),
    }
    assert [scorer.name for scorer in found] == ["popularity", *best]
    assert {scorer.name: score(scorer) for scorer in found[1:]} == pytest.approx(best)
    assert set(chosen.settings) == set(best)


def test_without_a_validation_window_the_first_settings_are_taken(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    data.setup()
    chosen = Several(ease_l2=[30.0, 3.0], recent_days=[3.0, 0.1])
    chosen.scorers(data.training_log, 48, None, data.queries("validation")[:0])
    assert chosen.settings == {"recent_popularity": {"days": 3.0}, "ease": {"l2": 30.0, "history": 5}}
