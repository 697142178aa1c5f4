"""CKA against the estimator written with kernel matrices, and on features with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ortho_group

from lightning_tl.choosing.forgetting.kernel_alignment import kernel_alignment

Array = NDArray[np.float64]


def _hsic(x: Array, y: Array) -> float:
    """Song et al. (2012), equation 5, word for word."""
    n = len(x)
    k, l_ = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l_, 0)
    ones = np.ones(n)
    third = (ones @ k @ ones) * (ones @ l_ @ ones) / ((n - 1) * (n - 2))
    return float(np.trace(k @ l_) + third - 2 / (n - 2) * (ones @ k @ l_ @ ones)) / (n * (n - 3))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(6, 40), dims=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_it_is_the_estimator_of_kernel_matrices(seed: int, n: int, dims: tuple[int, int]) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, dims[0])) + 3
    y = 0.5 * x @ random.normal(size=dims) + random.normal(size=(n, dims[1]))
    expected = _hsic(x, y) / np.sqrt(_hsic(x, x) * _hsic(y, y))
    assert kernel_alignment(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_turned_scaled_and_moved_features_are_the_same() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 16)) * np.arange(1, 17)
    turned = x @ ortho_group.rvs(16, random_state=random)
    for same in (turned, 1e-9 * turned, 1e200 * x, x + 1000, np.hstack([x, x]), np.hstack([x, np.zeros((50, 3))])):
        assert kernel_alignment(x, same) == pytest.approx(1, abs=1e-9)


def test_independent_features_are_near_zero_where_the_biased_estimate_is_not() -> None:
    random = np.random.default_rng(0)
    found = [kernel_alignment(random.normal(size=(60, 200)), random.normal(size=(60, 200))) for _ in range(20)]
    assert abs(np.mean(found)) < 0.02
    x, y = (features - features.mean(0) for features in (random.normal(size=(60, 200)), random.normal(size=(60, 200))))
    biased = ((x.T @ y) ** 2).sum() / np.sqrt(((x.T @ x) ** 2).sum() * ((y.T @ y) ** 2).sum())
    assert biased > 0.6


def test_the_more_is_changed_the_less_alike() -> None:
    random = np.random.default_rng(1)
    x, noise = random.normal(size=(100, 20)), random.normal(size=(100, 20))
    found = [kernel_alignment(x, (1 - share) * x + share * noise) for share in (0, 0.2, 0.5, 0.8, 1)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.eye(3), np.eye(3), "at least 4 samples are needed, got 3"),
        (np.eye(5), np.eye(6), "of the same samples, got 5 and 6"),
        (np.eye(5), np.ones((5, 2)), "the same for all 5 samples"),
        (np.eye(5), np.full((5, 2), np.nan), "must be finite"),
        (np.eye(5)[:, :1], np.eye(5)[:, :1], "too few of the 5 samples differ"),
    ],
)
def test_mistakes(first: Array, second: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_alignment(first, second)
