"""Slices of the queries: counts, metrics, the largest gap, and the groupings that every report has."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tl.retrieval.judging.rank_report import rank_metrics
from lightning_tl.retrieval.judging.slices import history_bands, popularity_bands, slices

ROWS = st.lists(st.tuples(st.integers(1, 300), st.sampled_from("abcde"), st.sampled_from("MFX")), min_size=1)


@settings(deadline=None, max_examples=40)
@given(ROWS, st.integers(1, 6))
def test_a_slice_is_a_report_of_its_queries(rows: list[tuple[int, str, str]], least: int) -> None:
    ranks, users, labels = (list(column) for column in zip(*rows, strict=True))
    found = slices(ranks, users, {"gender": labels}, least, draws=30)["gender"]
    assert list(found["slices"]) == sorted(set(labels))
    for name, report in found["slices"].items():
        mine = [place for place, label in enumerate(labels) if label == name]
        alone = rank_metrics([ranks[k] for k in mine], [users[k] for k in mine], 300, draws=30)
        assert (report["queries"], report["users"]) == (len(mine), len({users[k] for k in mine}))
        for metric in ("HR@10", "HR@100", "MRR"):
            assert report[metric] == alone["per_query"][metric]
    gap = found["largest_gap"]
    large = {name: report["HR@100"] for name, report in found["slices"].items() if report["queries"] >= least}
    pairs = [(a, b) for a in large for b in large if a != b]
    assert (gap is None) == (not pairs)
    if gap is not None:
        assert gap["difference"] == max(large[a]["value"] - large[b]["value"] for a, b in pairs)
        higher, lower = large[gap["higher"]], large[gap["lower"]]
        assert gap["higher"] != gap["lower"] and gap["metric"] == "HR@100"
        assert higher["value"] - lower["value"] == gap["difference"]
        ends = (higher["low"], lower["high"])
        assert gap["intervals_overlap"] == (None if None in ends else ends[0] <= ends[1])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_largest_gap_is_among_slices_that_are_large_enough() -> None:
    ranks = [1] * 20 + [1, 200] * 10 + [200] * 3
    users = list(range(len(ranks)))
    labels = ["new"] * 20 + ["old"] * 20 + ["rare"] * 3
    gap = slices(ranks, users, {"age": labels}, min_queries=4)["age"]["largest_gap"]
    assert (gap["higher"], gap["lower"], gap["difference"]) == ("new", "old", 0.5)
    assert gap["intervals_overlap"] is False
    gap = slices(ranks, users, {"age": labels}, min_queries=3)["age"]["largest_gap"]
    assert (gap["higher"], gap["lower"], gap["difference"]) == ("new", "rare", 1.0)
    assert slices(ranks, users, {"age": labels}, min_queries=21)["age"]["largest_gap"] is None


def test_names_of_slices() -> None:
    labels: list[Any] = ["21-100", None, "6-20", math.nan, "cold", "101+", "1-5", pd.NA, True]
    found = slices([1] * 9, list("abcdefghi"), {"g": labels}, draws=5)["g"]["slices"]
    assert list(found) == ["True", "cold", "unknown", "1-5", "6-20", "21-100", "101+"]
    assert found["unknown"]["queries"] == 3


def slow_band(counts: list[int], item: int) -> str:
    if counts[item] == 0:
        return "cold"
    before = sum(count for count in counts if count > counts[item])
    return "head" if before < sum(counts) / 3 else "middle" if before < sum(counts) * 2 / 3 else "tail"


@settings(deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_popularity_bands_are_what_a_slow_sum_finds(counts: list[int], random) -> None:
    targets = [random.randrange(len(counts)) for _ in range(20)]
    assert popularity_bands(counts, targets).tolist() == [slow_band(counts, item) for item in targets]


def test_popularity_bands() -> None:
    counts = [50, 20, 20, 5, 5, 0]  # of 100 events
    assert popularity_bands(counts, [0, 1, 2, 3, 4, 5]).tolist() == ["head"] + ["middle"] * 2 + ["tail"] * 2 + ["cold"]
    assert popularity_bands(counts, [0, 1, 3], (0.6, 0.95)).tolist() == ["head", "head", "middle"]
    assert popularity_bands(counts, []).tolist() == []
    assert popularity_bands([0, 0], [1]).tolist() == ["cold"]


def test_history_bands() -> None:
    lengths = [0, 1, 5, 6, 20, 21, 100, 101, 9999]
    expected = ["cold", "1-5", "1-5", "6-20", "6-20", "21-100", "21-100", "101+", "101+"]
    assert history_bands(lengths).tolist() == expected
    assert history_bands([0, 1, 2, 3], edges=(1, 2)).tolist() == ["cold", "1", "2", "3+"]
    assert history_bands(np.zeros(0, np.int64)).tolist() == []


def test_what_is_refused() -> None:
    cases = [
        (lambda: slices([1, 2], ["a", "b"], {"g": ["x"]}), r"'g' must name a slice for each of 2 queries, got \(1,\)"),
        (lambda: slices([1], ["a"], {}, min_queries=0), "min_queries must be at least 1, got 0"),
        (lambda: slices([0], ["a"], {}), "ranks must be 1 or more"),
        (lambda: popularity_bands([1, -1], [0]), "numbers from 0"),
        (lambda: popularity_bands([1, 1], [2]), "targets must be from 0 to 1, got 2 to 2"),
        (lambda: popularity_bands([1, 1], [-1]), "targets must be from 0 to 1, got -1"),
        (lambda: popularity_bands([1], [0], (0.5, 0.5)), "shares must rise between 0 and 1, got 0.5 and 0.5"),
        (lambda: history_bands([1], edges=(5, 5)), r"edges must rise from 1 or more, got \[5, 5\]"),
        (lambda: history_bands([1], edges=(0, 5)), "edges must rise from 1 or more"),
        (lambda: history_bands([-1]), "lengths must be 0 or more, got -1"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
