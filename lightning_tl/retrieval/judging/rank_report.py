"""What is said about a ranking: metrics with intervals over users, coverage, and differences of two rankings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics import BootstrapInterval, bootstrap_difference, bootstrap_mean
from lightning_tl.retrieval.judging.coverage import COVERAGE_AT, coverage
from lightning_tl.retrieval.judging.rank_gains import checked_ranks, rank_gains

KS = (1, 5, 10, 50, 100)
_LEVEL = 0.95
_WOODRUFF_FROM = 20_000  # users, from where drawing them for every median takes minutes


def rank_metrics(
    ranks: ArrayLike,
    users: ArrayLike,
    item_count: int,
    top: NDArray[np.int64] | None = None,
    ks: Sequence[int] = KS,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of a ranking, as JSON can hold them.

    A few users who ask much can decide a mean over queries. So its interval draws whole users with all of their
    queries, and `per_user` gives every user the same say: the mean over users of each user's mean.

    Args:
        ranks: [queries] of each query's target, from 1.
        users: [queries] who asked, any values that can be sorted.
        item_count: size of the catalogue.
        top: [queries, at least 100 or all items] what was shown, best first, -1 for nothing. None: coverage is not
            measured.
        ks: of HR@k. With one target per query HR@k is Recall@k.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        `queries`, `users`, `items`, `level` of the intervals, `per_query` with `HR@k`, `MRR`, `NDCG@10`, `median_rank`
        and, with `top`, `coverage@100` (the share of the catalogue that is among anybody's first 100), `per_user` with
        the same but the median (coverage is there the share that is among a user's own), each `{"value", "low",
        "high"}`; ends are None with fewer than 2 users.

    Raises:
        ValueError: ranks outside 1 to `item_count`, or arrays of the wrong shape.
    """
    found, asking = checked_ranks(ranks, users)
    if found.max() > item_count:
        raise ValueError(f"ranks must be at most item_count ({item_count}), got {found.max()}")
    names = [*(f"HR@{k}" for k in ks), "MRR", "NDCG@10"]
    sizes = np.bincount(asking)
    per_query: dict[str, Any] = {}
    per_user: dict[str, Any] = {}
    for name in names:
        gains = rank_gains(found, name)
        per_query[name] = mean_over_users(gains, asking, draws, seed)
        per_user[name] = mean_over_users(np.bincount(asking, gains) / sizes, np.arange(len(sizes)), draws, seed)
    per_query["median_rank"] = _median_over_users(found, asking, draws, seed)
    if top is not None:
        name = f"coverage@{COVERAGE_AT}"
        per_query[name], per_user[name] = coverage(top, asking, item_count, draws, _LEVEL, seed)
    counts = {"queries": len(found), "users": len(sizes), "items": item_count, "level": _LEVEL}
    return {**counts, "per_query": per_query, "per_user": per_user}


def telling_metric(item_count: int) -> str:
    """The metric by which rankings of so many items can be told apart: a hit rate among most of them cannot."""
    return "HR@100" if item_count >= 1_000 else "HR@10" if item_count >= 50 else "MRR"


def paired_difference(
    first_ranks: ArrayLike,
    second_ranks: ArrayLike,
    users: ArrayLike,
    metric: str,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, float | None]:
    """How much better the first ranking is on the same queries, with its interval over users.

    Args:
        first_ranks: [queries].
        second_ranks: [queries], of the same queries in the same order.
        users: [queries] who asked.
        metric: `HR@k`, `NDCG@k` or `MRR`, see `rank_gains`.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        `value`, `low` and `high` of metric(first) - metric(second); ends are None with fewer than 2 users.

    Raises:
        ValueError: other numbers of ranks, or another metric.
    """
    first, asking = checked_ranks(first_ranks, users)
    second, _ = checked_ranks(second_ranks, users)
    gains, others = rank_gains(first, metric), rank_gains(second, metric)
    if asking.max() == 0:
        return {"value": float((gains - others).mean()), "low": None, "high": None}
    return _ends(bootstrap_difference(gains, others, asking, draws, _LEVEL, seed))


def mean_over_users(
    gains: NDArray[np.float64], users: NDArray[np.int64], draws: int, seed: int
) -> dict[str, float | None]:
    """A mean over queries and its interval from whole users; without ends where there are fewer than 2 users.

    Args:
        gains: [queries].
        users: [queries] numbers.
        draws: how often users are drawn.
        seed: of the draws.
    """
    if users.min() == users.max():
        return {"value": float(gains.mean()), "low": None, "high": None}
    return _ends(bootstrap_mean(gains, users, draws, _LEVEL, seed))


def _ends(interval: BootstrapInterval) -> dict[str, float | None]:
    return {"value": interval.mean, "low": interval.low, "high": interval.high}


def _median_over_users(
    ranks: NDArray[np.int64], users: NDArray[np.int64], draws: int, seed: int
) -> dict[str, float | None]:
    """The median rank over queries, and its percentile interval from whole users drawn with replacement.

    Args:
        ranks: [queries].
        users: [queries] numbers from 0, each of which occurs.
        draws: how often users are drawn.
        seed: of the draws.
    """
    value, count = float(np.median(ranks)), int(users.max()) + 1
    if count < 2:
        return {"value": value, "low": None, "high": None}
    if count >= _WOODRUFF_FROM:
        return {"value": value, **_woodruff(ranks, users, value)}
    order = np.argsort(ranks, kind="stable")
    in_order, asking = ranks[order], users[order]
    generator = np.random.default_rng(seed)
    medians = np.empty(draws)
    for draw in range(draws):
        times = np.bincount(generator.integers(count, size=count), minlength=count)  # each user was drawn
        reached = np.cumsum(times[asking])  # queries of the draw up to each rank
        middle = np.array([(reached[-1] - 1) // 2, reached[-1] // 2])
        medians[draw] = in_order[np.searchsorted(reached, middle, side="right")].mean()
    low, high = np.quantile(medians, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return {"value": value, "low": float(low), "high": float(high)}


def _woodruff(ranks: NDArray[np.int64], users: NDArray[np.int64], median: float) -> dict[str, float]:
    """Ends of the median's interval: those of the share of queries up to it, read off the ranks (Woodruff 1952)."""
    share = bootstrap_mean((ranks <= median).astype(float), users, level=_LEVEL)
    reach = (share.high - share.low) / 2
    low, high = np.quantile(ranks, [max(0.0, 0.5 - reach), min(1.0, 0.5 + reach)])
    return {"low": float(low), "high": float(high)}
