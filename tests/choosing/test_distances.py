"""MMD, proxy A-distance and Fréchet distance against slow references and on distributions with known answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from lightning_tl.choosing.distance.frechet import frechet, frechet_of_moments
from lightning_tl.choosing.distance.mmd import BY_BLOCKS, EXACT, mmd
from lightning_tl.choosing.distance.proxy_a import proxy_a

Array = NDArray[np.float64]


def normal(seed: int, n: int, dim: int, shift: float = 0.0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, dim)) + shift / np.sqrt(dim)


def slow_mmd(x: Array, y: Array, width: float) -> float:
    """Gretton et al. (2012), equation 3, pair by pair."""

    def mean(a: Array, b: Array, same: bool) -> float:
        pairs = [
            np.exp(-float(((u - v) ** 2).sum()) / (2 * width**2))
            for i, u in enumerate(a)
            for j, v in enumerate(b)
            if not (same and i == j)
        ]
        return float(np.mean(pairs))

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


# ------------------------------------------------------------------------------------------------ MMD


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    m=st.integers(2, 14),
    n=st.integers(2, 14),
    dim=st.integers(1, 6),
    offset=st.sampled_from([0.0, 1e4]),
)
def test_mmd_is_the_mean_over_pairs(seed: int, m: int, n: int, dim: int, offset: float) -> None:
    x, y = normal(seed, m, dim) + offset, normal(seed + 1, n, dim, 1.0) + offset
    found = mmd(x, y, permutations=20)
    pooled = np.concatenate([x, y])
    distances = [np.linalg.norm(a - b) for i, a in enumerate(pooled) for b in pooled[:i]]
    assert found.bandwidth**2 == pytest.approx(np.median(np.square(distances)), rel=1e-6)
    assert found.squared == pytest.approx(slow_mmd(x, y, found.bandwidth), abs=1e-9)
    assert (found.estimator, found.samples) == (EXACT, (m, n))


def test_permutations_at_once_are_permutations_one_by_one() -> None:
    x, y = normal(0, 9, 2), normal(1, 6, 2, 0.8)
    found = mmd(x, y, permutations=60, seed=3)
    pooled, generator = np.concatenate([x, y]), np.random.default_rng(3)
    larger = 0
    for _ in range(60):
        order = generator.permutation(15)
        larger += slow_mmd(pooled[order[:9]], pooled[order[9:]], found.bandwidth) >= found.squared - 1e-12
    assert found.p_value == (1 + larger) / 61


@pytest.mark.parametrize(("exact", "n"), [pytest.param(3_000, 40, id="exact"), pytest.param(20, 160, id="over blocks")])
def test_mmd_holds_its_level_and_gains_power(exact: int, n: int) -> None:
    rejected = {}
    for shift in (0.0, 0.7, 1.4):
        tests = [
            mmd(normal(2 * k, n, 5), normal(2 * k + 1, n, 5, shift), permutations=200, seed=k, exact_per_side=exact)
            for k in range(200)
        ]
        rejected[shift] = float(np.mean([found.p_value <= 0.05 for found in tests]))
        assert {found.estimator for found in tests} == {EXACT if exact > n else BY_BLOCKS}
    assert 0.02 <= rejected[0.0] <= 0.09
    assert rejected[0.0] + 0.1 < rejected[0.7] < rejected[1.4] - 0.1


def test_blocks_that_resemble_each_other_are_exchanged_whole() -> None:
    """Eight regions on each side, each with its own mean: samples exchanged one by one would nearly always differ."""
    rejected: dict[bool, list[bool]] = {True: [], False: []}
    for seed in range(60):
        generator = np.random.default_rng(seed)
        regions = np.repeat(np.arange(8), 6)
        x, y = (generator.normal(size=(8, 3))[regions] + 0.3 * generator.normal(size=(48, 3)) for _ in range(2))
        for known in (True, False):
            blocks = (regions, regions) if known else (None, None)
            rejected[known].append(mmd(x, y, blocks, permutations=99, seed=seed).p_value <= 0.05)
    assert np.mean(rejected[True]) <= 0.12 < 0.5 < np.mean(rejected[False])


def test_the_estimator_over_blocks_agrees_with_the_exact_one() -> None:
    x, y = normal(0, 1200, 4), normal(1, 900, 4, 0.8)
    exact, rough = mmd(x, y, permutations=9), mmd(x, y, exact_per_side=800)
    assert rough.squared == pytest.approx(exact.squared, rel=0.1)
    assert (rough.estimator, rough.samples, rough.draws) == (BY_BLOCKS, (1200, 900), 15)
    assert rough.p_value < 1e-6


def test_of_a_much_larger_side_some_are_drawn() -> None:
    found = mmd(normal(0, 30, 3), normal(1, 4_000, 3), permutations=9, exact_per_side=200)
    assert (found.estimator, found.samples) == (EXACT, (30, 370))


def test_samples_most_of_which_are_equal_have_a_bandwidth() -> None:
    x, y = np.zeros((20, 2)), np.zeros((20, 2))
    x[0], y[:2] = 1.0, 1.0
    found = mmd(x, y, permutations=50)
    assert found.bandwidth == pytest.approx(np.sqrt(2))
    assert found.p_value > 0.1


# ------------------------------------------------------------------------------------------------ proxy A-distance


def test_proxy_a_is_that_of_another_library() -> None:
    x, y = normal(0, 400, 6), normal(1, 250, 6, 1.5)
    found = proxy_a(x, y, seed=1)
    features, target = np.concatenate([x, y]), np.repeat([0, 1], [400, 250])
    model = LogisticRegression(class_weight="balanced", C=1.0)
    guessed = cross_val_predict(model, StandardScaler().fit_transform(features), target, cv=5)
    balanced = np.mean([np.mean(guessed[target == side] == side) for side in (0, 1)])
    assert found.accuracy == pytest.approx(balanced, abs=0.02)
    assert found.distance == pytest.approx(2 * (1 - 2 * (1 - found.accuracy)))
    assert found.low < found.distance < found.high
    assert found.accuracy_low < balanced < found.accuracy_high
    assert (found.folds, found.samples, found.by_block) == (5, (400, 250), False)


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 0.0), (2.0, 2 * (2 * 0.8413 - 1)), (12.0, 2.0)])
def test_proxy_a_of_gaussians(shift: float, expected: float) -> None:
    """The best classifier of N(0, I) and N(μ, I) is right with probability Φ(|μ| / 2)."""
    found = proxy_a(normal(0, 700, 4), normal(1, 700, 4, shift))
    assert found.distance == pytest.approx(expected, abs=0.15)
    assert found.low <= expected + 1e-9 and found.high >= expected - 1e-9
    assert 0 <= found.low <= found.distance <= found.high <= 2


def test_the_few_count_as_much_as_the_many() -> None:
    found = proxy_a(normal(0, 1500, 3), normal(1, 60, 3))
    assert found.accuracy == pytest.approx(0.5, abs=0.09)  # by guessing the larger side it would be 0.96
    assert found.low == 0.0


def test_blocks_stay_in_one_fold() -> None:
    """Samples of a block give each other away; across blocks there is nothing to tell the domains apart."""
    generator = np.random.default_rng(0)
    regions = np.repeat(np.arange(30), 20)
    sides = [generator.normal(size=(30, 40))[regions] + 0.05 * generator.normal(size=(600, 40)) for _ in range(2)]
    alone, whole = proxy_a(*sides), proxy_a(*sides, blocks=(regions, regions))
    assert alone.accuracy > 0.75
    assert whole.by_block and whole.accuracy_low < 0.55
    features, target = np.concatenate(sides), np.repeat([0, 1], 600)
    groups = np.concatenate([regions, regions + 30])
    guessed = cross_val_predict(LogisticRegression(C=0.01), features, target, groups=groups, cv=GroupKFold(5))
    assert whole.accuracy == pytest.approx(np.mean(guessed == target), abs=0.15)


def test_more_samples_than_are_used_are_drawn_from() -> None:
    found = proxy_a(normal(0, 300, 2), normal(1, 90, 2), most_per_side=100)
    assert found.samples == (100, 90)


# ------------------------------------------------------------------------------------------------ Fréchet distance


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.integers(1, 6), spare=st.integers(2, 30))
def test_frechet_is_that_of_the_matrix_root(seed: int, dim: int, spare: int) -> None:
    x, y = normal(seed, dim + spare, dim), 2 * normal(seed + 1, dim + spare, dim, 1.0)
    found = frechet(x, y)
    covariances = [np.atleast_2d(np.cov(side, rowvar=False)) for side in (x, y)]
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    mean = float(np.square(x.mean(0) - y.mean(0)).sum())
    expected = mean + float(np.trace(covariances[0] + covariances[1] - 2 * root))
    assert found.squared == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert found.share_of_mean == pytest.approx(mean / expected, rel=1e-4)
    assert found.full_rank


def test_frechet_of_gaussians_is_the_closed_form() -> None:
    """Of axis-parallel Gaussians: |μ₁ - μ₂|² + Σ (σ₁ - σ₂)²; the bias of finite samples is taken off."""
    scales = np.array([1.0, 2.0, 0.5])
    expected = 0.25 + float(np.square(scales - 1).sum())
    assert frechet_of_moments((np.zeros(3), np.diag(scales**2)), (np.array([0.5, 0, 0]), np.eye(3))) == pytest.approx(
        (0.25, expected - 0.25)
    )
    x, y = normal(0, 40_000, 3) * scales, normal(1, 40_000, 3) + np.array([0.5, 0, 0])
    assert frechet(x, y).squared == pytest.approx(expected, rel=0.03)
    same = [frechet(normal(2 * k, 200, 20), normal(2 * k + 1, 200, 20)) for k in range(10)]
    plain = np.mean([found.squared for found in same])
    assert plain > 0.3
    assert np.mean([found.extrapolated for found in same]) < plain / 3


def test_frechet_of_fewer_samples_than_dimensions_is_a_number_and_says_so() -> None:
    x, y = normal(0, 10, 64), normal(1, 12, 64)
    found = frechet(x, y)
    assert np.isfinite(found.squared) and found.squared > 0
    assert (found.full_rank, found.extrapolated) == (False, None)
    assert frechet(x, x).squared == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((np.zeros(2), np.eye(3)), (np.zeros(2), np.eye(2)), "a mean [dim] and a covariance [dim, dim]"),
        ((np.zeros(2), np.eye(2)), (np.zeros(3), np.eye(3)), "one dimension, got 2 and 3"),
        ((np.array([np.nan]), np.eye(1)), (np.zeros(1), np.eye(1)), "must be finite"),
        ((np.zeros(1), -np.eye(1)), (np.zeros(1), np.eye(1)), "no eigenvalues below 0, got -1"),
    ],
)
def test_moments_that_are_none(first: Any, second: Any, told: str) -> None:
    with pytest.raises(ValueError) as raised:
        frechet_of_moments(first, second)
    assert told in str(raised.value)


# ------------------------------------------------------------------------------------------------ all of them

GOOD = normal(0, 20, 3)
BAD: list[tuple[str, Any, Any, str]] = [
    ("empty", GOOD[:0], GOOD, "features of the source of at least"),
    ("one", GOOD, GOOD[:1], "features of the target of at least"),
    ("dimension", GOOD, GOOD[:, :2], "features of 3 numbers and the target of 2"),
    ("nan", np.where(np.eye(20, 3) > 0, np.nan, GOOD), GOOD, "those of 3 of 20 samples are not"),
    ("infinite", GOOD, np.where(np.eye(20, 3) > 0, np.inf, GOOD), "those of 3 of 20 samples are not"),
    ("constant", np.ones((20, 3)), GOOD, "the same for all 20 samples"),
    ("no table", GOOD[0], GOOD, "must be [samples, dim]"),
]


@pytest.mark.parametrize("distance", [mmd, proxy_a, frechet], ids=lambda each: each.__name__)
@pytest.mark.parametrize(("first", "second", "told"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_features_that_have_no_distance(distance: Callable[..., Any], first: Any, second: Any, told: str) -> None:
    with pytest.raises(ValueError) as raised:
        distance(first, second)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: mmd(GOOD, GOOD, permutations=0), "permutations must be at least 1, got 0"),
        (lambda: mmd(GOOD, GOOD, (np.zeros(20), None)), "the source has one block only"),
        (lambda: mmd(GOOD, GOOD, (None, np.zeros(3))), "one block for each of 20 samples, got shape [3]"),
        (lambda: proxy_a(GOOD, GOOD, folds=2), "folds must be at least 3, got 2"),
        (lambda: proxy_a(GOOD, GOOD[:4]), "features of the target of at least 5 samples are needed, got 4"),
        (lambda: proxy_a(GOOD, GOOD, (None, np.arange(20) % 4)), "5 folds need at least as many blocks on each side"),
    ],
)
def test_arguments_that_cannot_be(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(ValueError) as raised:
        call()
    assert told in str(raised.value)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e3]), offset=st.sampled_from([0.0, 50.0]))
def test_distances_do_not_hang_on_units(seed: int, scale: float, offset: float) -> None:
    x, y = normal(seed, 15, 3), normal(seed + 1, 12, 3, 1.0)
    plain, moved = mmd(x, y, permutations=30), mmd(scale * x + offset, scale * y + offset, permutations=30)
    assert moved.squared == pytest.approx(plain.squared, abs=1e-5)
    assert frechet(scale * x + offset, scale * y + offset).squared == pytest.approx(
        scale**2 * frechet(x, y).squared, rel=1e-4
    )


def test_seconds_of_a_thousand_samples_a_side() -> None:
    """The kernel matrix is made once: five hundred permutations cost a product with it."""
    started = time.process_time()
    mmd(normal(0, 1000, 64), normal(1, 1000, 64), permutations=500)
    assert time.process_time() - started < 10
