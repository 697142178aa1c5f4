"""Intervals of few samples and of few blocks: how often they hold the truth, and that none is a point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lightning_tl.metrics import block_bootstrap, bootstrap_difference, bootstrap_mean, sum_bootstrap
from lightning_tl.metrics.small_samples import wilson
from lightning_tl.metrics.sum_bootstrap import bootstrap_scores, mean_interval


@given(st.integers(1, 300), st.data())
def test_wilson_is_scipys(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.floats(0, 1), st.floats(1, 1e6), st.floats(0.01, 0.9999))
@example(1.0, 4, 0.99)
def test_wilson_holds_the_share(share: float, count: float, level: float) -> None:
    low, high = wilson(share, count, level)
    assert 0 <= low <= share <= high <= 1 and low < high


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


@pytest.mark.parametrize(
    ("value", "bounds", "least", "most"),
    [
        (0.25, None, 0, 1),
        (0.25, (0, 2), 0, 2),
        (-0.25, None, -1, 1),
        (1.0, (-1, 1), -1, 1),
        (3.0, None, 0, 6),  # nothing says what could have been: as far to either side as the value is from 0
        (1.5, None, 0, 3),
        (-1.5, None, -3, 0),
    ],
)
def test_equal_values_may_have_been_others(
    value: float, bounds: tuple[float, float] | None, least: float, most: float
) -> None:
    """As many samples as nine that are alike hide by chance could lie at either bound."""
    hidden = binomtest(0, 9).proportion_ci(method="wilson").high
    found = bootstrap_mean(np.full(9, value), bounds=bounds)
    expected = (1 - hidden) * value + hidden * least, (1 - hidden) * value + hidden * most
    assert (found.low, found.high) == pytest.approx(expected)


def with_an_outcome(blocks: int, having: int) -> tuple[np.ndarray, np.ndarray]:
    """Five samples a block, of which one is 1 in some blocks."""
    samples = np.zeros((blocks, 5))
    samples[:having, 0] = 1
    return samples.ravel(), np.repeat(np.arange(blocks), 5)


@pytest.mark.parametrize(
    ("blocks", "having", "method"),
    [(30, 10, "bootstrap"), (29, 10, "Wilson"), (30, 9, "Wilson"), (300, 9, "Wilson"), (300, 10, "bootstrap")],
)
def test_which_shares_are_bootstrapped(blocks: int, having: int, method: str) -> None:
    samples, names = with_an_outcome(blocks, having)
    assert bootstrap_mean(samples, names, draws=50).method == method
    assert bootstrap_mean(1 - samples, names, draws=50).method == method
    assert bootstrap_mean(samples, names, draws=50, bounds=(0, 1)).method == method


def test_a_share_of_few_blocks_counts_as_many_samples_as_its_blocks_tell() -> None:
    """The share's variance over that of independent samples, and Student's quantile (Korn & Graubard 1998)."""
    names = np.repeat(np.arange(8), [9, 4, 7, 5, 8, 6, 3, 6])
    samples = (np.random.default_rng(0).random(48) < np.linspace(0.1, 0.9, 8)[names]).astype(float)
    share = sum(samples) / 48
    residuals = [sum(samples[names == k] - share) for k in range(8)]
    variance = 8 / 7 * sum(residual**2 for residual in residuals) / 48**2
    effective = share * (1 - share) / variance * (1.959964 / 2.364624) ** 2  # 97.5%: normal, and Student's of 7
    assert 1 < effective < 48
    found = bootstrap_mean(samples, names)
    assert (found.low, found.high) == pytest.approx(wilson(share, effective), rel=1e-5)


def test_perfect_scores_are_no_points() -> None:
    counts = np.repeat([[3.0, 0.0, 0.0]], 8, axis=0)  # hits, false alarms, misses of eight samples
    found = bootstrap_scores(counts, lambda s: (2 * s[..., 0] / (2 * s[..., 0] + s[..., 1] + s[..., 2]))[..., None])
    assert found is not None and found[0].high == 1.0 and 0.5 < found[0].low < 0.9


def test_a_score_of_zero_is_no_point() -> None:
    found = bootstrap_scores(np.zeros((8, 1)), lambda sums: sums)
    assert found is not None and (found[0].low, found[0].mean) == (0, 0)
    assert found[0].high == pytest.approx(binomtest(0, 8).proportion_ci(method="wilson").high)


@pytest.mark.parametrize("cells", [1, 100, 1500])
def test_draws_are_the_same_however_many_are_made_at_once(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values, blocks = np.random.default_rng(0).normal(size=400), np.arange(400) // 8

    def ends() -> list[float]:
        mean = bootstrap_mean(values, blocks, draws=50)
        (score,) = bootstrap_scores(values[:, None], lambda sums: sums / 400, blocks, draws=50) or ()
        return [mean.low, mean.high, score.low, score.high]

    before = ends()
    monkeypatch.setattr(block_bootstrap, "_CELLS_AT_ONCE", cells)
    monkeypatch.setattr(sum_bootstrap, "_CELLS_AT_ONCE", cells)
    assert ends() == pytest.approx(before, rel=1e-12)


def test_what_a_mean_was_drawn_over() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0])
    alone, together = mean_interval(values, None), mean_interval(values, np.array([0, 0, 1, 1]))
    assert alone is not None and (alone["over"], alone["blocks"], alone["mean"]) == ("samples", 4, 0.75)
    assert together is not None and (together["over"], together["blocks"]) == ("blocks", 2)
    assert mean_interval(values, np.zeros(4, np.int64)) is None and mean_interval(values[:1], None) is None


def test_large_samples_in_blocks_are_bootstrapped_as_before() -> None:
    draw = np.random.default_rng(0)
    found = bootstrap_mean((draw.random(1000) < 0.8).astype(float), np.repeat(np.arange(100), 10))
    assert found.method == "bootstrap" and found.high - found.low == pytest.approx(0.05, abs=0.02)
