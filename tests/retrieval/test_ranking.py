"""Ranks over the whole catalogue: what a slow count finds, however the work is cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import on_two_ranks
from torch import Tensor

from lightning_tl.contracts.interactions import NO_ITEM, InteractionLog, Queries
from lightning_tl.retrieval.ranking.ranking import EmbeddingScorer, queries_at_once, ranks, top_items
from lightning_tl.retrieval.ranking.sharded_ranks import gather_ranks, rank_shard, sharded_ranks

ITEMS = 9


def log_of(rows: list[tuple[int, int, int]], items: int = ITEMS) -> InteractionLog:
    """A log of (user, time, item)."""
    columns = np.array(sorted(rows, key=lambda row: row[:2]), dtype=np.int64).reshape(-1, 3).T
    ids = [f"u{k}" for k in range(5)], [f"i{k}" for k in range(items)]
    return InteractionLog(columns[0].astype(np.int32), columns[2].astype(np.int32), columns[1], *ids)


def all_queries(log: InteractionLog) -> Queries:
    return Queries.of(log, np.arange(len(log)))


class Table:
    """Scores that are written down: [events, items]."""

    def __init__(self, table: Tensor) -> None:
        self.name, self.table = "table", table

    def scores(self, queries: Queries, items: slice) -> Tensor:
        return self.table[torch.from_numpy(queries.events)][:, items]


def taken_before(queries: Queries, row: int) -> set[int]:
    """Items of the query's user strictly before its time."""
    log, event = queries.log, queries.events[row]
    before = [k for k in range(len(log)) if log.users[k] == log.users[event] and log.times[k] < log.times[event]]
    return {int(log.items[k]) for k in before}


def slow_ranks(table: Tensor, queries: Queries, filter_seen: bool) -> list[int]:
    found = []
    for row in range(len(queries)):
        scores, target = table[queries.events[row]].tolist(), int(queries.targets[row])
        left_out = taken_before(queries, row) if filter_seen else set()
        others = [item for item in range(len(scores)) if item != target and item not in left_out]
        behind = [item for item in others if scores[item] < scores[target]]  # NaN is below nothing
        found.append(1 + len(others) - len(behind))
    return found


def slow_top(table: Tensor, queries: Queries, k: int, filter_seen: bool) -> tuple[list[list[int]], list[list[float]]]:
    items, scores = [], []
    for row in range(len(queries)):
        mine = table[queries.events[row]].tolist()
        left_out = taken_before(queries, row) if filter_seen else set()
        best = [item for item in range(len(mine)) if item not in left_out and not math.isnan(mine[item])]
        best = sorted(best, key=lambda item: -mine[item])[:k]  # sorting keeps the order of equal ones
        items.append(best + [NO_ITEM] * (k - len(best)))
        scores.append([mine[item] for item in best] + [-math.inf] * (k - len(best)))
    return items, scores


EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, ITEMS - 1)), max_size=25)
SCORE = st.sampled_from([-math.inf, -3e38, -1.5, -1.0, -1e-45, -0.0, 0.0, 1e-45, 0.5, 1.0, 3e38, math.inf, math.nan])


@st.composite
def tables(draw) -> tuple[Queries, Tensor]:
    queries = all_queries(log_of(draw(EVENTS)))
    count = len(queries) * ITEMS
    scores = draw(st.lists(SCORE, min_size=count, max_size=count))
    return queries, torch.tensor(scores).reshape(len(queries), ITEMS)


@settings(deadline=None, max_examples=80)
@given(tables(), st.booleans(), st.integers(1, 30), st.integers(1, 12))
def test_ranks_are_what_a_slow_count_finds(
    given_table: tuple[Queries, Tensor], filter_seen: bool, query_chunk: int, item_chunk: int
) -> None:
    queries, table = given_table
    found = ranks(Table(table), queries, ITEMS, filter_seen, query_chunk, item_chunk)
    assert found.dtype == np.int64
    assert found.tolist() == slow_ranks(table, queries, filter_seen)
    assert ranks(Table(table), queries, ITEMS, filter_seen).tolist() == found.tolist()


@settings(deadline=None, max_examples=80)
@given(tables(), st.booleans(), st.integers(1, 12), st.integers(1, 30), st.integers(1, 12))
def test_top_items_are_what_sorting_finds(
    given_table: tuple[Queries, Tensor], filter_seen: bool, k: int, query_chunk: int, item_chunk: int
) -> None:
    queries, table = given_table
    items, scores = top_items(Table(table), queries, ITEMS, k, filter_seen, query_chunk, item_chunk)
    assert (items.dtype, scores.dtype) == (np.int64, np.float32)
    expected = slow_top(table, queries, k, filter_seen)
    assert items.tolist() == expected[0]
    np.testing.assert_array_equal(scores, np.array(expected[1], np.float32).reshape(len(queries), k))


def test_top_items_of_a_large_table() -> None:
    """Many slices, many equal scores, and the target at its rank where no score is equal."""
    log = log_of([(user, time, 50 * user + time) for user in range(5) for time in range(40)], items=700)
    queries = all_queries(log)
    generator = torch.Generator().manual_seed(0)
    equal = torch.randint(-20, 20, (len(queries), 700), generator=generator).float()
    assert top_items(Table(equal), queries, 700, 60, item_chunk=64)[0].tolist() == slow_top(equal, queries, 60, True)[0]
    unequal = torch.rand(len(queries), 700, generator=generator, dtype=torch.float64).argsort(dim=1).float()
    items, _ = top_items(Table(unequal), queries, 700, 700, item_chunk=100)
    found = ranks(Table(unequal), queries, 700)
    assert items[np.arange(len(queries)), found - 1].tolist() == queries.targets.tolist()


def test_a_scorer_that_knows_nothing_is_last() -> None:
    log = log_of([(0, 0, 1), (0, 1, 2), (0, 2, 2), (0, 3, 3)])
    table = torch.zeros(4, ITEMS)
    assert ranks(Table(table), all_queries(log), ITEMS).tolist() == [9, 8, 8, 7]  # the repeated item 2 is ranked too
    assert ranks(Table(table), all_queries(log), ITEMS, filter_seen=False).tolist() == [9] * 4
    assert ranks(Table(table + math.nan), all_queries(log), ITEMS).tolist() == [9, 8, 8, 7]


SHAPES = [(1, 17, 16), (3, 1682, 17), (65, 7, 64), (64, 1001, 130), (2, 4097, 128)]


@pytest.mark.parametrize(("query_count", "item_count", "dim"), SHAPES)
def test_items_with_the_same_embedding_tie_wherever_they_stand(query_count: int, item_count: int, dim: int) -> None:
    """In float32 a matrix product of these shapes gives equal rows different scores."""
    log = log_of([(k % 5, k, k % item_count) for k in range(query_count)], items=item_count)
    queries = all_queries(log)
    generator = torch.Generator().manual_seed(dim)
    vectors = torch.randn(query_count, dim, generator=generator)
    same = torch.randn(1, dim, generator=generator).expand(item_count, dim).contiguous()
    scorer = EmbeddingScorer("same", queries, vectors, same)
    for chunk in (item_count, 5 if item_count < 50 else 499):
        assert (ranks(scorer, queries, item_count, False, item_chunk=chunk) == item_count).all()


def random_scorer(items: int = 300, dim: int = 24) -> tuple[EmbeddingScorer, Queries]:
    generator = np.random.default_rng(3)
    rows = [(int(u), int(t), int(i)) for u, t, i in generator.integers(0, (5, 40, items), size=(150, 3))]
    log = log_of(rows, items=items)
    queries = Queries.of(log, generator.permutation(len(log))[:101])
    queries_of, items_of = generator.normal(size=(101, dim)), generator.normal(size=(items, dim))
    tensors = [torch.from_numpy(table.astype(np.float32)) for table in (queries_of, items_of)]
    return EmbeddingScorer("random", queries, *tensors), queries


def test_ranks_of_embeddings_do_not_depend_on_chunks() -> None:
    scorer, queries = random_scorer()
    table = torch.zeros(len(queries.log), 300)
    for row in range(len(queries)):
        table[queries.events[row]] = scorer.scores(queries[row : row + 1], slice(0, 300))[0]
    expected = slow_ranks(table, queries, True)
    for query_chunk, item_chunk in ((1, 300), (7, 64), (101, 1), (None, 8192)):
        assert ranks(scorer, queries, 300, True, query_chunk, item_chunk).tolist() == expected


def test_embeddings_are_found_by_the_queries_events() -> None:
    scorer, queries = random_scorer()
    mixed = np.array([5, 100, 5, 0])
    every = scorer.scores(queries, slice(10, 30))
    assert torch.equal(scorer.scores(queries[mixed], slice(10, 30)), every[mixed])
    three = Queries.of(queries.log, np.array([7, 3, 5]))
    axes = EmbeddingScorer("axes", three, torch.eye(3), torch.tensor([[30.0, 50.0, 70.0]] * 300))
    assert axes.scores(three, slice(0, 1)).tolist() == [[30], [50], [70]]
    assert axes.scores(three[np.array([2, 0, 2])], slice(0, 1)).tolist() == [[70], [30], [70]]
    strange = Queries.of(queries.log, np.setdiff1d(np.arange(len(queries.log)), queries.events))
    with pytest.raises(ValueError, match=r"embeddings of the queries it was built with, not of event \d+"):
        ranks(scorer, strange, 300)
    with pytest.raises(ValueError, match="not of another log"):
        ranks(scorer, all_queries(log_of([(0, 0, 0)], items=300)), 300)


@pytest.mark.parametrize(
    ("items", "expected"), [(1, 512), (131_072, 512), (1_000_000, 67), (2**26, 1), (2**30, 1), (0, 512)]
)
def test_chunks_keep_memory_bounded(items: int, expected: int) -> None:
    assert queries_at_once(items) == expected


def test_the_scorer_is_asked_for_chunks_only() -> None:
    scorer, queries = random_scorer()
    asked = []

    class Asked:
        name = "asked"

        def scores(self, part: Queries, items: slice) -> Tensor:
            asked.append((len(part), items.stop - items.start))
            return scorer.scores(part, items)

    ranks(Asked(), queries, 300, query_chunk=40, item_chunk=128)
    assert asked == [(40, 128), (40, 128), (40, 44)] * 2 + [(21, 128), (21, 128), (21, 44)]


# ------------------------------------------------------------------------- several processes


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 70))
def test_processes_share_whole_chunks(queries: int, world_size: int, chunk: int) -> None:
    shards = [rank_shard(queries, rank, world_size, chunk) for rank in range(world_size)]
    assert [row for shard in shards for row in range(queries)[shard]] == list(range(queries))
    assert all(shard.start % chunk == 0 for shard in shards if shard.start < shard.stop)
    chunks = [-(-(shard.stop - shard.start) // chunk) for shard in shards]
    assert max(chunks) - min(chunks) <= 1


def ranks_of_this_process() -> list[np.ndarray]:
    dist.init_process_group("gloo")
    scorer, queries = random_scorer()
    own = np.arange(6).reshape(2, 3) if dist.get_rank() else np.zeros((0, 3), np.int64)
    return [
        sharded_ranks(scorer, queries, 300, query_chunk=8, item_chunk=100),
        sharded_ranks(scorer, queries[:1], 300),  # one process has nothing to do
        sharded_ranks(scorer, queries[:0], 300),
        gather_ranks(own),
    ]


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    scorer, queries = random_scorer()
    alone = ranks(scorer, queries, 300)
    assert sharded_ranks(scorer, queries, 300, query_chunk=8).tolist() == alone.tolist()
    for whole, first, none, table in on_two_ranks(ranks_of_this_process, tmp_path):
        assert whole.tolist() == alone.tolist()
        assert first.tolist() == alone[:1].tolist() and none.shape == (0,)
        assert table.tolist() == [[0, 1, 2], [3, 4, 5]]


# ------------------------------------------------------------------------- what is refused


class Misshapen:
    name = "misshapen"

    def scores(self, queries: Queries, items: slice) -> Tensor:
        return torch.zeros(len(queries), ITEMS)


def test_what_is_refused() -> None:
    queries = all_queries(log_of([(0, 0, 1), (0, 1, 2)]))
    table = Table(torch.zeros(2, ITEMS))
    cases = [
        (lambda: ranks(table, queries, 8), "item_count must be at least the log's 9 items, got 8"),
        (lambda: ranks(table, queries, 9, query_chunk=0), "query_chunk must be at least 1, got 0"),
        (lambda: ranks(table, queries, 9, item_chunk=-1), "item_chunk must be at least 1, got -1"),
        (lambda: ranks(Misshapen(), queries, 9, item_chunk=5), r"misshapen must give scores of shape \(2, 5\), got"),
        (lambda: top_items(table, queries, 9, 0), "k must be at least 1, got 0"),
        (lambda: rank_shard(5, 2, 2, 1), "rank must be from 0 to 1, got 2"),
        (lambda: rank_shard(5, 0, 2, 0), "query_chunk must be at least 1, got 0"),
        (lambda: EmbeddingScorer("x", queries, torch.zeros(3, 4), torch.zeros(9, 4)), r"must be \[2 queries, dim\]"),
        (lambda: EmbeddingScorer("x", queries, torch.zeros(2, 4), torch.zeros(9, 5)), "of the same length"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
