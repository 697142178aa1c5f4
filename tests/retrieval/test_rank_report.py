"""What is said about a ranking: values beside plain loops, intervals beside a slow bootstrap of whole users."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from statistics import mean, median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tl.retrieval.judging.rank_gains import rank_gains
from lightning_tl.retrieval.judging.rank_report import paired_difference, rank_metrics

NAMES = ("HR@1", "HR@5", "HR@10", "HR@50", "HR@100", "MRR", "NDCG@10")


def gain(rank: int, name: str) -> float:
    if name == "MRR":
        return 1 / rank
    kind, k = name.split("@")
    return 0.0 if rank > int(k) else 1.0 if kind == "HR" else 1 / math.log2(rank + 1)


def by_user(ranks: list[int], users: list[Any]) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = {}
    for rank, user in zip(ranks, users, strict=True):
        found.setdefault(user, []).append(rank)
    return found


def slow_interval(
    groups: list[list[Any]], statistic: Callable[[list[Any]], float], draws: int = 4000
) -> tuple[float, float]:
    """Whole groups drawn with replacement, one draw after the other."""
    generator, found = np.random.default_rng(99), []
    for _ in range(draws):
        chosen = generator.integers(len(groups), size=len(groups))
        found.append(statistic([value for place in chosen for value in groups[place]]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def skewed(count: int = 40) -> tuple[list[int], list[str]]:
    """Users who differ in how much they ask and in how well they are served."""
    generator = np.random.default_rng(1)
    ranks: list[int] = []
    users: list[str] = []
    for user in range(count):
        asked = int(generator.integers(1, 30))
        middle = generator.uniform(1, 60)
        ranks += (1 + generator.poisson(middle, size=asked)).tolist()
        users += [f"user {user}"] * asked
    return ranks, users


PAIRS = st.lists(st.tuples(st.integers(1, 200), st.sampled_from("abcdef")), min_size=1, max_size=40)


@settings(deadline=None, max_examples=40)
@given(PAIRS)
def test_values_are_what_loops_find(pairs: list[tuple[int, str]]) -> None:
    ranks, users = [rank for rank, _ in pairs], [user for _, user in pairs]
    groups = by_user(ranks, users)
    found = rank_metrics(ranks, users, 200, draws=20)
    assert (found["queries"], found["users"], found["items"]) == (len(ranks), len(groups), 200)
    assert set(found["per_query"]) == {*NAMES, "median_rank"} and set(found["per_user"]) == set(NAMES)
    for name in NAMES:
        assert found["per_query"][name]["value"] == pytest.approx(mean(gain(rank, name) for rank in ranks))
        each = [mean(gain(rank, name) for rank in mine) for mine in groups.values()]
        assert found["per_user"][name]["value"] == pytest.approx(mean(each))
    assert found["per_query"]["median_rank"]["value"] == median(ranks)
    for metric in [*found["per_query"].values(), *found["per_user"].values()]:
        if len(groups) == 1:
            assert metric["low"] is None and metric["high"] is None
        else:
            assert metric["low"] <= metric["high"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_intervals_are_those_of_whole_users_drawn_one_by_one() -> None:
    ranks, users = skewed()
    groups = list(by_user(ranks, users).values())
    found = rank_metrics(ranks, users, 200, draws=4000)
    for name, width in (("HR@10", 0.01), ("MRR", 0.003), ("NDCG@10", 0.006)):
        query = slow_interval(groups, lambda drawn, name=name: mean(gain(rank, name) for rank in drawn), 1500)
        each = [[mean(gain(rank, name) for rank in mine)] for mine in groups]
        for got, expected in ((found["per_query"], query), (found["per_user"], slow_interval(each, mean, 1500))):
            assert (got[name]["low"], got[name]["high"]) == pytest.approx(expected, abs=width)
            assert expected[1] - expected[0] > 3 * width  # or the comparison above could not fail
    middle = found["per_query"]["median_rank"]
    assert (middle["low"], middle["high"]) == pytest.approx(slow_interval(groups, median, 1500), abs=1.5)
    assert middle["high"] - middle["low"] > 5


@pytest.mark.parametrize("seed", range(6))
def test_the_median_of_a_draw_is_that_of_the_drawn_queries(seed: int) -> None:
    """The same users are drawn from the same generator, and their ranks laid out one by one."""
    rolls = np.random.default_rng(seed + 50)
    users = rolls.integers(5, size=17).tolist()
    ranks = rolls.integers(1, 1000, size=17).tolist()
    groups = [mine for _, mine in sorted(by_user(ranks, users).items())]
    generator, medians = np.random.default_rng(seed), []
    for _ in range(50):
        drawn = generator.integers(len(groups), size=len(groups))
        medians.append(median(rank for place in drawn for rank in groups[place]))
    low, high = np.quantile(medians, [0.025, 0.975])
    found = rank_metrics(ranks, users, 1000, draws=50, seed=seed)["per_query"]["median_rank"]
    assert (found["low"], found["high"]) == pytest.approx((low, high))


def test_users_and_not_queries_are_drawn() -> None:
    """Queries of one user that are all alike say it once: a hundred times as many narrow nothing."""
    users = [user for user in range(8) for _ in range(100)]
    ranks = [1 if user < 4 else 150 for user in users]
    once = rank_metrics(ranks[::100], users[::100], 200)
    often = rank_metrics(ranks, users, 200)
    assert often["per_query"]["HR@10"] == pytest.approx(once["per_query"]["HR@10"])
    assert often["per_query"]["median_rank"] == once["per_query"]["median_rank"]
    assert often["per_query"]["HR@10"]["high"] - often["per_query"]["HR@10"]["low"] > 0.5


def test_the_seed_alone_decides_the_interval() -> None:
    ranks, users = skewed(12)
    first = rank_metrics(ranks, users, 200, draws=100)
    backwards = rank_metrics(ranks[::-1], users[::-1], 200, draws=100)
    for name in NAMES:
        assert backwards["per_query"][name] == pytest.approx(first["per_query"][name])
    assert rank_metrics(ranks, users, 200, draws=100) == first
    assert rank_metrics(ranks, users, 200, draws=100, seed=1) != first


@pytest.mark.parametrize(
    ("top", "item_count", "expected"),
    [
        ([[0, 1, -1], [1, 2, -1]], 3, 1.0),
        ([[0, 1, -1, -1], [1, 1, -1, -1]], 4, 0.5),
        ([[-1] * 100], 200, 0.0),
        ([list(range(150))], 200, 0.5),  # only the first 100 count
        ([list(range(100)), list(range(50, 150))], 200, 0.75),
    ],
)
def test_coverage(top: list[list[int]], item_count: int, expected: float) -> None:
    users = list(range(len(top)))
    found = rank_metrics([1] * len(top), users, item_count, np.array(top), draws=50)
    assert found["per_query"]["coverage@100"]["value"] == expected
    own = [len({item for item in row[:100] if item >= 0}) / item_count for row in top]
    assert found["per_user"]["coverage@100"]["value"] == pytest.approx(mean(own))


def test_coverage_has_the_jackknifes_interval() -> None:
    generator = np.random.default_rng(2)
    users, top = generator.integers(0, 12, 40), np.argsort(generator.random((40, 3_000)), axis=1)[:, :100]
    found = rank_metrics([1] * 40, users, 3_000, top, draws=50)["per_query"]["coverage@100"]
    without = []  # the value without each user
    for user in np.unique(users):
        without.append(len(set(top[users != user].flatten().tolist())) / 3_000)
    count = len(without)
    error = math.sqrt((count - 1) / count * sum((value - mean(without)) ** 2 for value in without))
    assert found["high"] - found["value"] == pytest.approx(1.959964 * error, rel=1e-4)
    assert found["value"] - found["low"] == pytest.approx(1.959964 * error, rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(PAIRS, st.randoms(use_true_random=False), st.sampled_from(["HR@10", "NDCG@3", "MRR"]))
def test_differences_are_what_loops_find(pairs: list[tuple[int, str]], random, metric: str) -> None:
    first, users = [rank for rank, _ in pairs], [user for _, user in pairs]
    second = random.sample(first, len(first))
    found = paired_difference(first, second, users, metric, draws=50)
    differences = [gain(a, metric) - gain(b, metric) for a, b in zip(first, second, strict=True)]
    assert found["value"] == pytest.approx(mean(differences))
    assert (found["low"] is None) == (len(set(users)) < 2)
    assert paired_difference(first, first, users, metric, draws=50)["value"] == 0


def test_pairing_and_users_decide_the_interval_of_a_difference() -> None:
    ranks, users = skewed()
    better = [max(1, rank - 2) for rank in ranks]
    found = paired_difference(better, ranks, users, "MRR", draws=4000)
    differences = [1 / a - 1 / b for a, b in zip(better, ranks, strict=True)]
    groups = list(by_user(differences, users).values())  # type: ignore[arg-type]
    low, high = slow_interval(groups, mean, 1500)
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=(high - low) / 8)
    assert found["low"] > 0  # type: ignore[operator]


def test_gains() -> None:
    ranks = [1, 2, 3, 10, 11]
    assert rank_gains(ranks, "HR@3").tolist() == [1, 1, 1, 0, 0]
    assert rank_gains(ranks, "MRR") == pytest.approx([1, 1 / 2, 1 / 3, 1 / 10, 1 / 11])
    assert rank_gains(ranks, "NDCG@10") == pytest.approx([1, 0.6309297535714575, 0.5, 1 / math.log2(11), 0])


@pytest.mark.parametrize(
    ("ranks", "users", "more", "message"),
    [
        ([], [], {}, "ranks must be one row of whole numbers, got float64 of shape"),
        ([1.5], ["a"], {}, "whole numbers, got float64"),
        ([1, 0], ["a", "b"], {}, "ranks must be 1 or more, the first place being 1, got 0"),
        ([1, 201], ["a", "b"], {}, r"ranks must be at most item_count \(200\), got 201"),
        ([1, 2], ["a"], {}, r"one user for each of 2 ranks, got shape \(1,\)"),
        ([1], ["a"], {"ks": [0]}, "HR@k, NDCG@k or MRR with a whole number k from 1, got 'HR@0'"),
        (
            [1],
            ["a"],
            {"top": np.zeros((1, 99), int)},
            r"\[1 queries, 100 or more items\] for coverage, got shape \(1, 99\)",
        ),
        ([1], ["a"], {"top": np.full((1, 100), 200)}, "items in top must be from -1 to 199, got 200 to 200"),
    ],
)
def test_what_is_refused(ranks: list[Any], users: list[str], more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_metrics(ranks, users, 200, **more)


def test_what_is_no_difference() -> None:
    for metric in ("median", "HR", "HR@0", "HR@-1", "hr@10"):
        with pytest.raises(ValueError, match="metric must be HR@k, NDCG@k or MRR"):
            paired_difference([1], [2], ["a"], metric)
    with pytest.raises(ValueError, match="one user for each of 1 ranks"):
        paired_difference([1, 2], [2], ["a", "b"], "MRR")
