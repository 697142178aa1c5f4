"""Shares of classes by black-box shift estimation, and probabilities under other shares, against known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightning_tl.choosing.shift.label_shift import check_confusion, label_shift, reweighted

CONFUSION = np.array([[0.8, 0.15, 0.1], [0.15, 0.75, 0.2], [0.05, 0.1, 0.7]])  # [predicted, true]


def draws(seed: int, shares: list[float], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True classes and what a model with this confusion says of them."""
    generator = np.random.default_rng(seed)
    true = generator.choice(3, count, p=shares)
    return true, np.array([generator.choice(3, p=CONFUSION[:, k]) for k in true])


@pytest.mark.parametrize("shares", [[0.2, 0.2, 0.6], [0.9, 0.1, 0.0], [1 / 3, 1 / 3, 1 / 3]])
def test_known_shares_are_recovered(shares: list[float]) -> None:
    true, predicted = draws(0, [0.5, 0.3, 0.2], 3000)
    new_true, new = draws(1, shares, 4000)
    found = label_shift(true, predicted, new, 3, draws=400)
    np.testing.assert_allclose(found.estimated, shares, atol=0.04)
    assert (found.low <= found.estimated).all() and (found.estimated <= found.high).all()
    assert found.estimated.sum() == pytest.approx(1) and (found.high - found.low).max() < 0.15
    assert found.p_value < 1e-6
    naive = np.bincount(new, minlength=3) / len(new)
    assert np.abs(found.estimated - shares).sum() < np.abs(naive - shares).sum() + 0.02
    del new_true


def test_intervals_hold_the_truth_and_the_test_its_level() -> None:
    shares, held, rejected = np.array([0.5, 0.3, 0.2]), [], []
    for seed in range(100):
        true, predicted = draws(2 * seed, shares.tolist(), 400)
        found = label_shift(true, predicted, draws(2 * seed + 1, shares.tolist(), 300)[1], 3, draws=200, seed=seed)
        held.append((found.low <= shares) & (shares <= found.high))
        rejected.append(found.p_value <= 0.05)
    assert 0.9 <= np.mean(held) <= 0.99
    assert np.mean(rejected) <= 0.11


def test_blocks_widen_the_interval() -> None:
    """Every sample forty times over tells no more than once."""
    true, predicted = draws(0, [0.4, 0.3, 0.3], 100)
    new = draws(1, [0.4, 0.3, 0.3], 4000)[1]
    many = np.repeat(true, 40), np.repeat(predicted, 40)
    plain = label_shift(*many, new, 3, draws=300)
    blocked = label_shift(*many, new, 3, blocks=np.repeat(np.arange(100), 40), draws=300)
    assert (blocked.high - blocked.low).mean() > 2 * (plain.high - plain.low).mean()
    assert blocked.p_value > plain.p_value


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5))
def test_reweighting_is_bayes_rule(seed: int, classes: int) -> None:
    """From likelihoods: p(y | x) under any shares is p(x | y) times the share, normalised."""
    generator = np.random.default_rng(seed)
    likelihoods = generator.uniform(0.01, 1, (7, classes))
    old, new = (generator.dirichlet(np.ones(classes)) + 0.01 for _ in range(2))
    posterior = [[row[k] * old[k] for k in range(classes)] for row in likelihoods]
    expected = np.array([[row[k] * new[k] for k in range(classes)] for row in likelihoods])
    expected /= expected.sum(1, keepdims=True)
    probabilities = np.array(posterior) / np.sum(posterior, axis=1, keepdims=True)
    np.testing.assert_allclose(reweighted(probabilities, old, new), expected, rtol=1e-9)


def test_reweighting_raises_accuracy_under_shift() -> None:
    generator = np.random.default_rng(0)
    y = generator.choice(2, 4000, p=[0.1, 0.9])
    x = generator.normal(size=4000) + y
    ratio = np.exp(x - 0.5)
    trained = np.stack([1 / (1 + ratio), ratio / (1 + ratio)], axis=1)  # trained on halves
    corrected = reweighted(trained, [0.5, 0.5], [0.1, 0.9])
    assert np.mean(corrected.argmax(1) == y) > np.mean(trained.argmax(1) == y) + 0.1


def test_a_row_on_classes_of_share_zero_keeps_the_shares() -> None:
    np.testing.assert_allclose(reweighted([[1.0, 0.0, 0.0]], [0.4, 0.3, 0.3], [0, 0.5, 0.5]), [[0, 0.5, 0.5]])


ONE = np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: label_shift(ONE, np.zeros(4, int), ONE, 2), "near singular (smallest singular value"),
        (lambda: label_shift(ONE, ONE, ONE, 3), "1 of 3 classes, the first number 2, have no labelled sample"),
        (lambda: label_shift(ONE, ONE, [], 2), "new must be one class number for each of at least one sample"),
        (lambda: label_shift(ONE, ONE, [2], 2), "new must be class numbers in 0…1"),
        (lambda: label_shift(ONE, ONE, [0.5], 2), "new must be class numbers in 0…1"),
        (lambda: check_confusion(ONE, ONE[:2], 2), "one prediction for each label, got 2 for 4"),
        (lambda: reweighted([[0.5, 0.5]], [1, 0], [0.5, 0.5]), "shares in training must be above 0"),
        (lambda: reweighted([[0.5, 0.5]], [0.5, 0.5], [0, 0]), "not all 0"),
        (lambda: reweighted([[0.5, 0.5]], [0.5, 0.5], [-1, 2]), "at least 0"),
        (lambda: reweighted([[0.5, 0.5]], [0.5, 0.5, 0], [0.5, 0.5]), "one share for each class"),
    ],
)
def test_what_is_refused(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(ValueError) as raised:
        call()
    assert told in str(raised.value)
