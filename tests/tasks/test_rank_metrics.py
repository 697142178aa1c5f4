"""Metrics of ranks beside plain loops, scikit-learn, and themselves on other batches and processes."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import on_two_ranks
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score
from torchmetrics import Metric, MetricCollection

from lightning_tl.metrics.ranks import NDCG, HitRate, MeanReciprocalRank, MedianRank


def everything() -> dict[str, Metric]:
    hits = {f"HR@{k}": HitRate(k) for k in (1, 10, 100)}
    return {**hits, "NDCG@5": NDCG(5), "NDCG@10": NDCG(10), "MRR": MeanReciprocalRank(), "median": MedianRank()}


def slow(ranks: list[int]) -> dict[str, float]:
    count, found = len(ranks), {}
    for k in (1, 10, 100):
        found[f"HR@{k}"] = sum(1 for rank in ranks if rank <= k) / count
    for k in (5, 10):
        found[f"NDCG@{k}"] = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= k) / count
    return {**found, "MRR": sum(1 / rank for rank in ranks) / count, "median": median(ranks)}


def values(metrics: Any) -> dict[str, float]:
    return {name: float(metric.compute()) for name, metric in metrics.items()}


RANKS = st.lists(st.one_of(st.integers(1, 120), st.integers(1, 2**40)), min_size=1, max_size=40)


@settings(deadline=None)
@given(RANKS)
def test_metrics_are_what_loops_find(ranks: list[int]) -> None:
    metrics = everything()
    for metric in metrics.values():
        metric.update(torch.tensor(ranks))
    assert values(metrics) == pytest.approx(slow(ranks), rel=1e-6, abs=2**-33)


@settings(deadline=None, max_examples=30)
@given(RANKS, st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False))
def test_batches_and_their_order_change_no_bit(ranks: list[int], cuts: list[int], random) -> None:
    whole, parts = everything(), MetricCollection(everything())
    for metric in whole.values():
        metric.update(torch.tensor(ranks))
    random.shuffle(ranks)
    for part in np.split(np.array(ranks, np.int64), sorted(cuts)):
        parts.update(torch.from_numpy(part))
    assert {name: float(value) for name, value in parts.compute().items()} == values(whole)


def test_metrics_with_the_same_first_batch_stay_apart() -> None:
    """No hit at 10 and none at 100: a collection must not take the two for one."""
    metrics = MetricCollection(everything())
    for batch in ([1000, 2000], [50, 60]):
        metrics.update(torch.tensor(batch))
    assert float(metrics.compute()["HR@10"]) == 0 and float(metrics.compute()["HR@100"]) == 0.5
    assert float(metrics.compute()["NDCG@10"]) == 0


def test_metrics_beside_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(60, 30))
    target = generator.integers(30, size=60)
    own = scores[np.arange(60), target]
    ranks = torch.from_numpy((scores >= own[:, None]).sum(1))
    relevant = np.zeros((60, 30), int)
    relevant[np.arange(60), target] = 1
    cases: list[tuple[Metric, float]] = [
        (HitRate(3), top_k_accuracy_score(target, scores, k=3, labels=np.arange(30))),
        (HitRate(10), top_k_accuracy_score(target, scores, k=10, labels=np.arange(30))),
        (NDCG(5), ndcg_score(relevant, scores, k=5)),
        (NDCG(30), ndcg_score(relevant, scores)),
        (MeanReciprocalRank(), label_ranking_average_precision_score(relevant, scores)),
    ]
    for metric, expected in cases:
        assert float(metric(ranks)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("ranks", "expected"), [([7], 7), ([4, 1], 2.5), ([9, 1, 3], 3), ([2, 8, 4, 6], 5)])
def test_median(ranks: list[int], expected: float) -> None:
    metric = MedianRank()
    for rank in ranks:
        metric.update(torch.tensor([rank], dtype=torch.int32))
    assert float(metric.compute()) == expected


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", list(everything()))
def test_without_queries_there_is_no_number_and_reset_forgets(name: str) -> None:
    metric = everything()[name]
    assert math.isnan(float(metric.compute()))
    metric.update(torch.zeros(0, dtype=torch.int64))
    assert math.isnan(float(metric.compute()))
    metric.update(torch.tensor([5, 6]))
    metric.reset()
    metric.update(torch.tensor([1]))
    assert float(metric.compute()) == 1


def rank_of_this_process(parts: list[list[int]]) -> dict[str, float]:
    dist.init_process_group("gloo")
    metrics = everything()
    for metric in metrics.values():
        if parts[dist.get_rank()]:
            metric.update(torch.tensor(parts[dist.get_rank()]))
    return values(metrics)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("parts", [[[3, 1, 80], [500, 20]], [[3, 4], []]], ids=["uneven", "one process has none"])
def test_two_processes_find_what_one_finds(parts: list[list[int]], tmp_path: Path) -> None:
    metrics = everything()
    for metric in metrics.values():
        metric.update(torch.tensor(parts[0] + parts[1]))
    first, second = on_two_ranks(rank_of_this_process, tmp_path, parts)
    assert first == second == values(metrics)


@pytest.mark.parametrize("name", list(everything()))
@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (torch.tensor([3, 0]), "ranks must be 1 or more, the first place being 1, got 0"),
        (torch.tensor([1.0, 2.0]), "whole numbers, got torch.float32"),
        (torch.tensor([True]), "whole numbers, got torch.bool"),
        (torch.tensor([[1, 2]]), r"one row of whole numbers, got torch.int64 of shape \(1, 2\)"),
    ],
)
def test_what_is_no_rank(name: str, ranks: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        everything()[name].update(ranks)


@pytest.mark.parametrize("metric", [HitRate, NDCG])
def test_k_counts_from_one(metric: type[Metric]) -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        metric(0)  # type: ignore[call-arg]
