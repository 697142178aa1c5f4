"""For whom and for what a ranking works: metrics of groups of queries, and the largest gap between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lightning_tl.retrieval.judging.rank_gains import checked_ranks, rank_gains
from lightning_tl.retrieval.judging.rank_report import mean_over_users

COLD = "cold"  # without events in the training window, or without a history
UNKNOWN = "unknown"  # slice of queries whose group is missing
_METRICS = ("HR@10", "HR@100", "MRR")


def slices(
    ranks: ArrayLike,
    users: ArrayLike,
    groups: Mapping[str, ArrayLike],
    min_queries: int = 100,
    metric: str = "HR@100",
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of each slice of each grouping, as JSON can hold them.

    Args:
        ranks: [queries] of each query's target, from 1.
        users: [queries] who asked; intervals draw whole users.
        groups: of each grouping's name, [queries] the name of each query's slice; None and NaN are "unknown".
        min_queries: smaller slices are reported, but are in no gap: their numbers are chance.
        metric: of the gaps, one of `HR@10`, `HR@100` and `MRR`.
        draws: number of bootstrap draws.
        seed: of the draws.

    Returns:
        Of each grouping `slices` (of each slice `queries`, `users`, `HR@10`, `HR@100` and `MRR` with their intervals)
        and `largest_gap`: the two slices whose metric differs most (`higher`, `lower`, `metric`, `difference`, and
        `intervals_overlap`, None without intervals), None where fewer than two slices have `min_queries`.
        Intervals that are apart show a difference; intervals that overlap do not show that there is none. A bootstrap
        cannot draw what it has not seen: the interval of a slice without a hit is 0 to 0, and too narrow.

    Raises:
        ValueError: a grouping that does not name one slice for each query, or as `rank_metrics`.
    """
    found, asking = checked_ranks(ranks, users)
    if min_queries < 1:
        raise ValueError(f"min_queries must be at least 1, got {min_queries}")
    report = {}
    for grouping, labels in groups.items():
        names = _names(grouping, labels, len(found))
        rows = {name: names == name for name in sorted(set(names.tolist()), key=_natural)}
        each = {name: _slice(found[inside], asking[inside], draws, seed) for name, inside in rows.items()}
        report[grouping] = {"slices": each, "largest_gap": _largest_gap(each, min_queries, metric)}
    return report


def popularity_bands(
    training_counts: ArrayLike, targets: ArrayLike, shares: tuple[float, float] = (1 / 3, 2 / 3)
) -> NDArray[np.str_]:
    """How popular each target was in training: [queries] of "cold", "tail", "middle" and "head".

    An item's place is the share of all training events that went to items that are more popular than it: items with
    equal counts are in the same band. With the default each band takes about a third of the events.

    Args:
        training_counts: [items] events of each item in the training window.
        targets: [queries] items.
        shares: where the head and the middle end, rising, in (0, 1).

    Raises:
        ValueError: negative counts, items without a count, or shares that do not rise.
    """
    counts, items = np.asarray(training_counts, dtype=np.int64), np.asarray(targets, dtype=np.int64)
    if not 0 < shares[0] < shares[1] < 1:
        raise ValueError(f"shares must rise between 0 and 1, got {shares[0]} and {shares[1]}")
    if counts.ndim != 1 or (len(counts) and counts.min() < 0):
        raise ValueError(f"training_counts must be one row of numbers from 0, got shape {counts.shape}")
    if len(items) and (items.min() < 0 or items.max() >= len(counts)):
        raise ValueError(f"targets must be from 0 to {len(counts) - 1}, got {items.min()} to {items.max()}")
    kinds, place, sizes = np.unique(counts, return_inverse=True, return_counts=True)
    events = (kinds * sizes)[::-1]  # of the items with each count, the most popular first
    before = (np.cumsum(events) - events)[::-1] / max(1, int(counts.sum()))
    bands = np.select([kinds == 0, before < shares[0], before < shares[1]], [COLD, "head", "middle"], "tail")
    return bands[place][items]


def history_bands(lengths: ArrayLike, edges: Sequence[int] = (5, 20, 100)) -> NDArray[np.str_]:
    """How much was known of each user: [queries] of "cold", "1-5", "6-20", "21-100" and "101+".

    Args:
        lengths: [queries] events of each history.
        edges: the longest history of each band but the last, rising from 1.

    Raises:
        ValueError: edges that do not rise from 1, or a length below 0.
    """
    if not edges or list(edges) != sorted(set(edges)) or edges[0] < 1:
        raise ValueError(f"edges must rise from 1 or more, got {list(edges)}")
    events = np.asarray(lengths, dtype=np.int64)
    if len(events) and events.min() < 0:
        raise ValueError(f"lengths must be 0 or more, got {events.min()}")
    firsts = [1, *(edge + 1 for edge in edges)]
    names = [f"{low}-{high}" if low < high else str(low) for low, high in zip(firsts, edges, strict=False)]
    table = np.array([COLD, *names, f"{firsts[-1]}+"])
    return table[np.searchsorted([0, *edges], events, side="left")]


def _names(grouping: str, labels: ArrayLike, count: int) -> NDArray[np.str_]:
    """[queries] the slice of each query."""
    given = np.asarray(labels, dtype=object)
    if given.shape != (count,):
        raise ValueError(f"the grouping '{grouping}' must name a slice for each of {count} queries, got {given.shape}")
    return np.array([UNKNOWN if none else str(label) for none, label in zip(pd.isna(given), given, strict=True)])


def _natural(name: str) -> tuple[int, str]:
    """Slices in the order of the number they begin with; those without one come first."""
    number = re.match(r"\d+", name)
    return (int(number[0]) if number else -1, name)


def _slice(ranks: NDArray[np.int64], users: NDArray[np.int64], draws: int, seed: int) -> dict[str, Any]:
    metrics = {name: mean_over_users(rank_gains(ranks, name), users, draws, seed) for name in _METRICS}
    return {"queries": len(ranks), "users": len(np.unique(users)), **metrics}


def _largest_gap(each: Mapping[str, Mapping[str, Any]], min_queries: int, metric: str) -> dict[str, Any] | None:
    large = [name for name, found in each.items() if found["queries"] >= min_queries]
    if len(large) < 2:
        return None
    value = {name: each[name][metric]["value"] for name in large}
    pair = max(combinations(large, 2), key=lambda pair: abs(value[pair[0]] - value[pair[1]]))
    lower, higher = sorted(pair, key=lambda name: float(value[name]))
    difference = value[higher] - value[lower]
    below, above = each[lower][metric]["high"], each[higher][metric]["low"]
    overlap = None if below is None or above is None else bool(above <= below)
    names = {"higher": higher, "lower": lower, "metric": metric}
    return {**names, "difference": difference, "intervals_overlap": overlap}
