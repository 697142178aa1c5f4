"""Intervals of few samples and of few blocks: how often they hold the truth, and that none is a point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lightning_tl.metrics import bootstrap_difference, bootstrap_mean
from lightning_tl.metrics.small_samples import wilson
from lightning_tl.metrics.sum_bootstrap import bootstrap_scores


@given(st.integers(1, 300), st.data())
def test_wilson_is_scipys(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nine_of_nine() -> None:
    found = bootstrap_mean(np.ones(9))
    assert (round(found.low, 2), found.high, found.method) == (0.70, 1.0, "Wilson")
    assert bootstrap_mean(np.zeros(9)).high == pytest.approx(0.30, abs=0.01)


@pytest.mark.parametrize(("share", "count"), [(0.98, 9), (0.9, 9), (0.5, 12), (0.98, 60), (0.7, 200)])
def test_independent_samples_are_covered(share: float, count: int) -> None:
    draw, held, trials = np.random.default_rng(0), 0, 600
    for _ in range(trials):
        found = bootstrap_mean((draw.random(count) < share).astype(float))
        held += found.low <= share <= found.high
    assert held / trials >= 0.93


@pytest.mark.parametrize(("share", "blocks"), [(0.8, 5), (0.95, 5), (0.8, 12), (0.95, 30)])
def test_few_blocks_are_covered(share: float, blocks: int) -> None:
    """Blocks of 20 samples that resemble each other: each block has a share of its own, from a beta distribution."""
    draw, held, trials = np.random.default_rng(1), 0, 600
    for _ in range(trials):
        own = draw.beta(8 * share, 8 * (1 - share), blocks)
        samples = (draw.random((blocks, 20)) < own[:, None]).astype(float)
        found = bootstrap_mean(samples.ravel(), np.repeat(np.arange(blocks), 20))
        held += found.low <= share <= found.high
    assert held / trials >= 0.90


def test_differences_over_few_blocks_are_covered() -> None:
    draw, held, trials, blocks = np.random.default_rng(2), 0, 600, 6
    for _ in range(trials):
        shift = 0.1 + 0.1 * draw.standard_normal(blocks)
        first = np.clip(0.5 + shift[:, None] + 0.2 * draw.standard_normal((blocks, 15)), 0, 1)
        second = np.clip(0.5 + 0.2 * draw.standard_normal((blocks, 15)), 0, 1)
        found = bootstrap_difference(first.ravel(), second.ravel(), np.repeat(np.arange(blocks), 15))
        held += found.low <= 0.1 <= found.high and found.method == "t"
    assert held / trials >= 0.90


@given(
    values=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=40),
    blocks=st.one_of(st.none(), st.integers(2, 6)),
)
def test_no_interval_is_a_point(values: list[float], blocks: int | None) -> None:
    samples = np.array(values)
    groups = None if blocks is None else np.arange(len(values)) % blocks
    for found in (
        bootstrap_mean(samples, groups, draws=200),
        bootstrap_difference(samples, samples, groups, draws=200),
    ):
        assert found.low <= found.mean + 1e-12 and found.mean <= found.high + 1e-12 and found.high > found.low


def test_perfect_scores_are_no_points() -> None:
    counts = np.repeat([[3.0, 0.0, 0.0]], 8, axis=0)  # hits, false alarms, misses of eight samples
    found = bootstrap_scores(counts, lambda s: (2 * s[..., 0] / (2 * s[..., 0] + s[..., 1] + s[..., 2]))[..., None])
    assert found is not None and found[0].high == 1.0 and 0.5 < found[0].low < 0.9


def test_large_samples_in_blocks_are_bootstrapped_as_before() -> None:
    draw = np.random.default_rng(0)
    found = bootstrap_mean((draw.random(1000) < 0.8).astype(float), np.repeat(np.arange(100), 10))
    assert found.method == "bootstrap" and found.high - found.low == pytest.approx(0.05, abs=0.02)
