"""LogME against evidence that is maximised directly, and on features with a known order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal, ortho_group

from lightning_tl.choosing.transferability.log_me import log_me, log_me_of_classes

Array = NDArray[np.float64]


def _direct(features: Array, y: Array) -> float:
    """max over α, β of log N(y; 0, F Fᵀ/α + I/β) / n, by a fine search: nothing in common with the fixed point."""
    n = len(y)
    scale = np.linalg.norm(features, 2) ** 2

    def at(log_t: float) -> float:
        covariance = features @ features.T / (np.exp(log_t) * scale) + np.eye(n)  # times 1/β
        variance = float(y @ np.linalg.solve(covariance, y)) / n  # the best 1/β
        return -float(multivariate_normal.logpdf(y, np.zeros(n), variance * covariance)) / n

    grid = np.linspace(-18, 18, 145)
    start = int(np.argmin([at(each) for each in grid]))
    bounds = (grid[max(start - 1, 0)], grid[min(start + 1, len(grid) - 1)])
    return -min(minimize_scalar(at, bounds=bounds, method="bounded", options={"xatol": 1e-6}).fun, at(grid[start]))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(8, 40),
    dim=st.integers(1, 60),
    signal=st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    decay=st.sampled_from([0.0, 0.05, 0.2]),
)
def test_fixed_point_is_the_largest_evidence(seed: int, n: int, dim: int, signal: float, decay: float) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, dim)) * np.exp(-decay * np.arange(dim))
    targets = signal * features @ random.normal(size=(dim, 2)) / np.sqrt(dim) + random.normal(size=(n, 2))
    expected = np.mean([_direct(features, y) for y in targets.T])
    assert log_me(features, targets) == pytest.approx(expected, abs=2e-3)


def _classes(seed: int = 0, n: int = 120, dim: int = 12) -> tuple[Array, NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=n)
    return random.normal(size=(n, dim)) + 1.5 * np.eye(3, dim)[labels], labels


def test_features_that_explain_the_labels_come_first() -> None:
    features, labels = _classes()
    noise = np.random.default_rng(1).normal(size=features.shape)
    scores = [log_me_of_classes(share * features + (1 - share) * noise, labels) for share in (0.0, 0.4, 0.7, 1.0)]
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 0.05


def test_dimensions_of_noise_cost_evidence() -> None:
    features, labels = _classes()
    noise = np.random.default_rng(1).normal(size=(len(labels), 80))
    assert log_me_of_classes(np.hstack([features, noise]), labels) < log_me_of_classes(features, labels)


@pytest.mark.parametrize("n", [30, 200])
def test_scale_turn_and_order_change_nothing(n: int) -> None:
    features, labels = _classes(n=n, dim=40)
    turned = features @ ortho_group.rvs(40, random_state=np.random.default_rng(2))
    order = np.random.default_rng(3).permutation(n)
    expected = log_me_of_classes(features, labels)
    for changed, named in [(1e-20 * features, labels), (1e20 * turned, labels + 4), (features[order], labels[order])]:
        assert log_me_of_classes(changed, named) == pytest.approx(expected, abs=1e-7)


def test_repeated_columns_and_few_samples_are_no_trouble() -> None:
    features, labels = _classes()
    assert np.isfinite(log_me_of_classes(np.hstack([features, features]), labels))
    assert np.isfinite(log_me_of_classes(features[:3], np.array([0, 1, 1])))
    assert np.isfinite(log_me_of_classes(np.eye(3)[labels], labels))  # explained without an error


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((6, 2)), [0, 1] * 3, "the same for all 6 samples"),
        (np.full((6, 2), np.nan), [0, 1] * 3, "must be finite, but those of 6 of 6"),
        (np.full((6, 2), np.inf), [0, 1] * 3, "must be finite"),
        (np.eye(6), [0] * 6, "all 6 samples are of one class"),
        (np.eye(6), [0, 1], "one class for each of 6 samples"),
        (np.eye(6), [0, 1, -1, 0, 1, 0], "leave out samples without a label"),
        (np.eye(6), [0.5, 1, 1, 0, 1, 0], "whole numbers"),
        (np.zeros((0, 3)), [], "at least 2 samples"),
        (np.zeros(6), [0, 1] * 3, r"got shape \[6\]"),
    ],
)
def test_mistakes_of_classes(features: Array, labels: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_me_of_classes(features, labels)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros(6), "every target is 0"),
        (np.full(6, np.nan), "targets must be finite, but 6 are not"),
        (np.zeros(5), r"must be \[6\] or \[6, columns\], got \[5, 1\]"),
    ],
)
def test_mistakes_of_values(targets: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_me(np.eye(6), targets)
