"""How far predicted values are from true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.sum_bootstrap import bootstrap_scores, interval_entry


def value_scores(
    target: ArrayLike, predicted: ArrayLike, blocks: NDArray[np.int64] | None = None, name: str = "value"
) -> dict[str, Any]:
    """Mean absolute error, root of the mean squared error and R² of one target, with 95% intervals, ready for JSON.

    R² is 1 - squared error / squared deviation from the mean of these samples, in each bootstrap draw from the mean of
    the draw; None where all targets are equal.

    Args:
        target: [n] true values.
        predicted: [n].
        blocks: [n] block of each sample; None when the samples are independent.
        name: of the target.

    Raises:
        ValueError: no samples, different lengths, or values that are not finite.
    """
    truth, guess = np.asarray(target, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != guess.shape or not len(truth):
        raise ValueError(f"target and predicted must be one row of the same length, got {truth.shape}, {guess.shape}")
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise ValueError(f"target and predicted must be finite; of '{name}' some are not")
    centre = truth.mean()
    shifted = truth - centre  # keeps the sums of squares exact for values far from 0
    error = guess - truth
    parts = np.stack([np.ones_like(truth), np.abs(error), error**2, shifted, shifted**2], axis=1)
    whole = _scores(parts.sum(0))
    intervals = bootstrap_scores(parts, _scores, blocks)
    entry: dict[str, Any] = {"name": name, "mean": float(centre), "std": float(truth.std())}
    for k, score in enumerate(("mae", "rmse", "r2")):
        entry[score] = float(whole[k]) if np.isfinite(whole[k]) else None
        entry[f"{score}_interval"] = None if intervals is None else interval_entry(intervals[k], blocks)
    return entry


def _scores(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums [..., 5] of 1, |error|, error², value, value² to [..., 3]: MAE, RMSE, R²."""
    count, absolute, squared, value, square = np.moveaxis(sums, -1, 0)
    spread = square - value**2 / count
    known = spread > 1e-12 * np.maximum(square, 1e-300)
    explained = np.where(known, 1 - squared / np.where(known, spread, 1), np.nan)
    return np.stack([absolute / count, np.sqrt(squared / count), explained], axis=-1)
