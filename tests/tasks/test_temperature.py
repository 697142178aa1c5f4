"""Temperature, calibration of several labels and bins of reliability, against slow references of their own."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tl.metrics import (
    NotFittedError,
    confidence_of,
    expected_calibration_error,
    fit_temperature,
    labels_calibration_error,
    reliability_bins,
    tempered,
)


def drawn(true_temperature: float, several: bool = False, samples: int = 3000) -> tuple[Any, Any]:
    """Logits, and targets drawn from their probabilities at a temperature."""
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(samples, 4)) * 2
    p = tempered(logits, true_temperature, several)
    if several:
        return logits, (draw.random(p.shape) < p).astype(np.int64)
    return logits, np.array([draw.choice(4, p=row) for row in p])


def slow_loss(logits: Any, target: Any, temperature: float) -> float:
    """Mean negative log-likelihood, one sample after the other."""
    total = 0.0
    for row, wanted in zip(logits.tolist(), target.tolist(), strict=True):
        scaled = [value / temperature for value in row]
        if isinstance(wanted, list):
            total += sum(math.log1p(math.exp(-z if y else z)) for z, y in zip(scaled, wanted, strict=True))
        else:
            total += math.log(sum(math.exp(z - scaled[wanted]) for z in scaled))
    return total / len(logits)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("true", [0.6, 1.0, 2.5])
def test_the_temperature_is_the_lowest_of_a_slow_likelihood_and_near_the_true_one(true: float, several: bool) -> None:
    logits, target = drawn(true, several)
    found = fit_temperature(logits, target)
    assert found.value == pytest.approx(true, rel=0.1) and found.samples == 3000
    assert found.loss_before == pytest.approx(slow_loss(logits, target, 1.0), rel=1e-9)
    assert found.loss_after == pytest.approx(slow_loss(logits, target, found.value), rel=1e-9)
    for other in (0.999, 1.001):
        assert slow_loss(logits, target, found.value * other) > found.loss_after
    error = labels_calibration_error if several else expected_calibration_error
    if true != 1:
        assert error(tempered(logits, found.value, several), target) < error(tempered(logits, 1.0, several), target) / 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.integers(2, 6))
def test_a_scale_of_the_logits_is_one_of_the_temperature_and_no_label_changes(
    seed: int, scale: float, classes: int
) -> None:
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(200, classes)) * 3
    target = np.where(draw.random(200) < 0.6, logits.argmax(1), draw.integers(0, classes, 200))
    found, scaled = fit_temperature(logits, target), fit_temperature(logits * scale, target)
    assert scaled.value == pytest.approx(found.value * scale, rel=1e-6)
    assert scaled.loss_after == pytest.approx(found.loss_after, rel=1e-9)
    assert found.loss_after <= found.loss_before
    assert (tempered(logits, found.value, False).argmax(1) == logits.argmax(1)).all()
    assert ((tempered(logits, found.value, True) >= 0.5) == (logits >= 0)).all()


NOISE = np.random.default_rng(1).normal(size=(60, 3))


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (NOISE[:49], NOISE[:49].argmax(1), "49 samples, fewer than 50"),
        (NOISE, np.ones(60, np.int64), "60 samples of one class"),
        (NOISE, NOISE.argmax(1), "60 samples that fit the better the lower it is, as where all are predicted right"),
        (NOISE, NOISE.argmin(1), "60 samples of which the logits tell nothing"),
        (NOISE * 0, NOISE.argmin(1), "60 samples of which the logits tell nothing"),
        (np.where(NOISE > 2, np.inf, NOISE), NOISE.argmin(1), r"\d samples with logits that are not finite"),
        (NOISE, np.zeros((60, 3), np.int64), "60 samples of one class"),
        (NOISE, (NOISE > 0).astype(float), "fit the better the lower it is"),
    ],
)
def test_no_temperature_and_why(logits: Any, target: Any, message: str) -> None:
    with pytest.raises(NotFittedError, match=message):
        fit_temperature(logits, target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.full(60, 3), "target must be in 0…2, got 3 … 3"),
        (np.zeros(59, int), r"got \(60, 3\) and \(59,\)"),
        (np.full((60, 3), 0.5), "must be 0 or 1"),
    ],
)
def test_targets_that_are_no_classes_are_refused(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(NOISE, target)
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        tempered(NOISE, 0.0, False)


def test_calibration_error_of_labels_agrees_with_a_loop_over_bins() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.random((300, 3))
    target = (draw.random((300, 3)) < probabilities**2).astype(np.int64)
    p, t, expected = probabilities.ravel(), target.ravel(), 0.0
    for k in range(15):
        inside = [n for n in range(900) if k / 15 < p[n] <= (k + 1) / 15]
        if inside:
            expected += abs(sum(t[n] for n in inside) - sum(p[n] for n in inside)) / 900
    assert labels_calibration_error(probabilities, target) == pytest.approx(expected, abs=1e-6)
    for bad, message in (((probabilities[:, :2], target), "expected"), ((probabilities + 1, target), "pass the sigm")):
        with pytest.raises(ValueError, match=message):
            labels_calibration_error(*bad)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.7, 0.71, 1.0]), st.booleans()), min_size=1, max_size=80))
def test_bins_hold_every_sample_once_and_part_no_ties(samples: list[tuple[float, bool]]) -> None:
    confidence, right = [c for c, _ in samples], [r for _, r in samples]
    bins = reliability_bins(confidence, right, 4)
    assert 1 <= len(bins) <= 4 and sum(b.samples for b in bins) == len(samples)
    assert all(a.highest < b.lowest for a, b in pairwise(bins))
    for each in bins:
        inside = [(c, r) for c, r in samples if each.lowest <= c <= each.highest]
        assert len(inside) == each.samples
        assert each.confidence == pytest.approx(sum(c for c, _ in inside) / len(inside))
        assert each.right == pytest.approx(sum(r for _, r in inside) / len(inside))


def test_bins_of_distinct_confidences_are_of_one_size() -> None:
    confidence = np.random.default_rng(0).permutation(103) / 103
    assert {b.samples for b in reliability_bins(confidence, confidence > 0.5)} == {10, 11}
    one = confidence_of([[0.2, 0.8], [0.6, 0.4]], [1, 1])
    assert one[0].tolist() == [0.8, 0.6] and one[1].tolist() == [1, 0]
    several = confidence_of([[0.2, 0.8], [0.6, 0.4]], [[0, 1], [1, 1]])
    assert several[0].tolist() == [0.2, 0.8, 0.6, 0.4] and several[1].tolist() == [0, 1, 1, 1]
