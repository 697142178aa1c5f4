"""Concept drift: whether a model's score on labelled samples falls or rises with their time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, t

from lightning_tl.metrics import BootstrapInterval, bootstrap_mean

FEWEST_WINDOWS, PER_WINDOW = 4, 5


@dataclass(frozen=True)
class Window:
    """The score of samples that follow each other in time.

    Args:
        start: time of the first.
        end: time of the last.
        score: their mean, with its interval and number.
    """

    start: float
    end: float
    score: BootstrapInterval


@dataclass(frozen=True)
class ScoreTrend:
    """Scores by window of time, and the line through them.

    Args:
        windows: in order.
        slope: change of the score from the first sample's time to the last's.
        low: lower end of its 95% interval.
        high: upper end.
        p_value: of no slope.
        tau: Kendall's, of the windows' order and scores, in -1…1.
        tau_p_value: Mann and Kendall's, of no monotone trend.
    """

    windows: tuple[Window, ...]
    slope: float
    low: float
    high: float
    p_value: float
    tau: float
    tau_p_value: float


def score_trend(scores: ArrayLike, times: ArrayLike, windows: int = 10, blocks: ArrayLike | None = None) -> ScoreTrend:
    """The score by windows of about as many samples each; samples of one time lie in one window.

    The line is weighted least squares over the windows by their numbers of samples, with Student's interval, so that
    windows that differ more than by chance widen it. The test of Mann (1945) and Kendall asks for any steady rise or
    fall. Neither knows why: inputs, shares of classes or what labels mean may have changed.

    Args:
        scores: [n] of samples that the model was not trained on, such as 1 where it is right and 0 where not.
        times: [n] in any unit.
        windows: at most.
        blocks: [n] of samples that hang together, such as a user's, for the intervals; None for independent ones.

    Raises:
        ValueError: values that are not finite, or too few samples or different times for four windows of five.
    """
    values, when = np.asarray(scores, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if windows < FEWEST_WINDOWS:
        raise ValueError(f"windows must be at least {FEWEST_WINDOWS}, got {windows}")
    if values.ndim != 1 or values.shape != when.shape:
        raise ValueError(f"there must be one time for each score, got {values.shape} and {when.shape}")
    if bad := int((~np.isfinite(values) | ~np.isfinite(when)).sum()):
        raise ValueError(f"scores and times must be finite, got {bad} that are not")
    together = None if blocks is None else np.asarray(blocks)
    order = np.argsort(when, kind="stable")
    parts = _parts(when[order], min(windows, len(when) // PER_WINDOW))
    if len(parts) < FEWEST_WINDOWS:
        raise ValueError(
            f"a trend needs at least {FEWEST_WINDOWS} windows of {PER_WINDOW} samples at different times, got "
            f"{len(when)} samples at {len(np.unique(when))} times"
        )
    bounds = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else None
    found = tuple(
        Window(
            float(when[order[part[0]]]),
            float(when[order[part[-1]]]),
            bootstrap_mean(values[order[part]], _blocks(together, order[part]), draws=2_000, bounds=bounds),
        )
        for part in parts
    )
    centres = np.array([when[order[part]].mean() for part in parts])
    means = np.array([window.score.mean for window in found])
    slope, error = _line(centres, means, np.array([len(part) for part in parts], dtype=np.float64))
    span = float(when.max() - when.min())
    freedom = len(parts) - 2
    reach = float(t.ppf(0.975, freedom)) * error
    p_value = 2 * float(t.sf(abs(slope) / error, freedom)) if error > 0 else float(slope == 0)
    tau, tau_p_value = (float(value) for value in kendalltau(np.arange(len(parts)), means))
    if math.isnan(tau):  # all windows have one score
        tau, tau_p_value = 0.0, 1.0
    ends = ((slope - reach) * span, (slope + reach) * span)
    return ScoreTrend(found, slope * span, ends[0], ends[1], p_value, tau, tau_p_value)


def _blocks(together: NDArray[Any] | None, part: NDArray[np.int64]) -> NDArray[Any] | None:
    """Of a window; None where all its samples are of one block, which has no interval by blocks."""
    return None if together is None or len(np.unique(together[part])) < 2 else together[part]


def _parts(sorted_times: NDArray[np.float64], windows: int) -> list[NDArray[np.int64]]:
    """Places in order of time, in parts of about the same size whose times are apart."""
    if windows < 1:
        return []
    cuts = [len(sorted_times) * k // windows for k in range(1, windows)]
    # A cut within equal times moves to their start.
    moved = np.unique(np.searchsorted(sorted_times, sorted_times[cuts], side="left")) if cuts else np.array([], int)
    return [part for part in np.split(np.arange(len(sorted_times)), moved) if len(part)]


def _line(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Slope of the weighted least squares line and its standard error."""
    middle = np.average(x, weights=weights)
    spread = float((weights * (x - middle) ** 2).sum())
    slope = float((weights * (x - middle) * y).sum()) / spread
    residual = y - np.average(y, weights=weights) - slope * (x - middle)
    variance = float((weights * residual**2).sum()) / (len(x) - 2)
    return slope, math.sqrt(variance / spread)
