"""Scores by time: the line against another library's, level and power, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit

from lightning_tl.choosing.shift.score_trend import score_trend


def right(seed: int, count: int, fall: float) -> tuple[np.ndarray, np.ndarray]:
    """1 where a model is right, whose accuracy falls from 0.8 by so much over a year, and the days."""
    generator = np.random.default_rng(seed)
    days = generator.uniform(0, 365, count)
    return (generator.random(count) < 0.8 - fall * days / 365).astype(float), days


def test_the_line_is_that_of_another_library() -> None:
    scores, days = right(0, 600, 0.3)
    found = score_trend(scores, days, windows=8)
    order = np.argsort(days)
    parts = np.array_split(order, 8)
    x, y = np.array([days[part].mean() for part in parts]), np.array([scores[part].mean() for part in parts])
    sizes = np.array([len(part) for part in parts])
    (_, slope), covariance = curve_fit(lambda at, a, b: a + b * at, x, y, sigma=1 / np.sqrt(sizes), p0=[0.5, 0.0])
    span = days.max() - days.min()
    assert found.slope == pytest.approx(slope * span, rel=1e-4)
    assert (found.high - found.low) / 2 == pytest.approx(2.446912 * np.sqrt(covariance[1, 1]) * span, rel=1e-4)
    assert [window.score.mean for window in found.windows] == pytest.approx(list(y))
    assert [window.score.samples for window in found.windows] == [75] * 8
    assert found.low <= -0.3 <= found.high and found.p_value < 0.05 and found.tau < -0.5


def test_level_and_power() -> None:
    rejected: dict[float, list[tuple[bool, bool]]] = {0.0: [], 0.3: []}
    for fall, tests in rejected.items():
        for seed in range(200):
            found = score_trend(*right(seed, 400, fall))
            tests.append((found.p_value <= 0.05, found.tau_p_value <= 0.05))
    level, power = np.mean(rejected[0.0], axis=0), np.mean(rejected[0.3], axis=0)
    assert (level <= 0.09).all() and (power > 0.7).all()


def test_samples_of_one_time_lie_in_one_window() -> None:
    years = np.repeat([2001, 2002, 2003, 2004, 2005], [50, 3, 40, 30, 60])
    found = score_trend(np.tile([0, 1], 92)[: len(years)], years, windows=10)
    assert [window.start for window in found.windows] == sorted({window.start for window in found.windows})
    assert sum(window.score.samples for window in found.windows) == len(years)
    assert all(a.end < b.start for a, b in zip(found.windows, found.windows[1:], strict=False))


def test_a_model_that_is_always_right_has_no_trend() -> None:
    found = score_trend(np.ones(100), np.arange(100))
    assert (found.slope, found.p_value, found.tau, found.tau_p_value) == (0, 1, 0, 1)


@pytest.mark.parametrize(
    ("scores", "times", "windows", "told"),
    [
        (np.ones(100), np.arange(100), 3, "windows must be at least 4, got 3"),
        (np.ones(100), np.arange(99), 10, "one time for each score"),
        (np.ones(3), [1, np.nan, np.inf], 10, "must be finite, got 2"),
        (np.ones(19), np.arange(19), 10, "at least 4 windows of 5 samples at different times, got 19 samples"),
        (np.ones(100), np.zeros(100), 10, "got 100 samples at 1 times"),
        ([], [], 10, "got 0 samples at 0 times"),
    ],
)
def test_what_is_refused(scores: Any, times: Any, windows: int, told: str) -> None:
    with pytest.raises(ValueError) as raised:
        score_trend(scores, times, windows)
    assert told in str(raised.value)
