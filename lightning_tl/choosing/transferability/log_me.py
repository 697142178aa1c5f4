"""LogME: the evidence of labels or values given features."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.checked_features import checked_features
from lightning_tl.metrics.nearest_neighbours import checked_labels

Array = NDArray[np.float64]
_SPAN = 1e12  # of the ratio of precisions, below and above the squared singular values
_STARTS = 49
_STEPS = 1000
_CLOSE = 1e-10  # change of the evidence per sample at which the iteration ends


def log_me_of_classes(features: ArrayLike, labels: ArrayLike) -> float:
    """`log_me` of one column for each class that occurs: 1 for its samples, 0 for the others.

    Args:
        features: [n, dim].
        labels: [n] class numbers, at least 0.

    Raises:
        ValueError: as `log_me`, or one class alone.
    """
    values = checked_features(features)
    found = checked_labels(labels, len(values))
    return log_me(values, (found[:, None] == np.unique(found)[None]).astype(np.float64))


def log_me(features: ArrayLike, targets: ArrayLike) -> float:
    """Mean log evidence per sample of linear models of the targets on the features; the higher, the better they suit.

    Each column y of the targets is taken as F w + noise, with w ~ N(0, 1/α) and noise ~ N(0, 1/β). LogME (You et al.
    2021, equation 2) is log p(y | F, α, β) / n at the α and β that make it largest, averaged over columns. Unlike a
    fit's accuracy it counts the price of many dimensions, so that it needs no samples of its own. They are found by the
    fixed point of MacKay's equations (You et al. 2022, algorithm 3), which with t = α/β and singular values σ of F is
    one iteration on t alone: γ = Σ σ²/(t + σ²), t ← γ ‖F m - y‖² / ((n - γ) ‖m‖²). Where we deviate: it starts from the
    best t of a grid in place of 1, since the evidence can have several maxima, and ends when the evidence no longer
    changes.

    The result does not change when features are scaled or turned; as in the paper they are not centred, and there is
    no intercept. Only features of the same samples and targets can be compared. Columns of numbers should be
    standardised, since the evidence depends on their unit.

    Args:
        features: [n, dim].
        targets: [n] or [n, columns]; columns that are 0 throughout are left out.

    Raises:
        ValueError: for features or targets that are not finite, features that are all the same, targets that do not fit
            them or are all 0.
    """
    values = checked_features(features)
    wanted = np.asarray(targets, dtype=np.float64)
    wanted = wanted[:, None] if wanted.ndim == 1 else wanted
    if wanted.ndim != 2 or len(wanted) != len(values):
        raise ValueError(f"targets must be [{len(values)}] or [{len(values)}, columns], got {list(wanted.shape)}")
    if not np.isfinite(wanted).all():
        raise ValueError(f"targets must be finite, but {int((~np.isfinite(wanted)).sum())} are not")
    wanted = wanted[:, (wanted != 0).any(0)]
    if wanted.shape[1] == 0:
        raise ValueError("every target is 0, so there is nothing to explain")
    squares, along, rest = _spectrum(values / np.abs(values).max(), wanted)
    return float(np.mean([_best_evidence(squares, z, r, len(values)) for z, r in zip(along.T, rest, strict=True)]))


def _spectrum(features: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Squared singular values [rank], squares of the targets along them [rank, columns], of what is left [columns]."""
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    rank = int((singular > singular[0] * max(features.shape) * np.finfo(np.float64).eps).sum())
    along = left[:, :rank].T @ targets
    rest = ((targets - left[:, :rank] @ along) ** 2).sum(0)  # no difference of squares, which rounding could spoil
    return singular[:rank] ** 2, along**2, rest


def _best_evidence(squares: Array, along: Array, rest: float, n: int) -> float:
    """The largest log evidence per sample of one column, over the ratio t of precisions."""
    least, most = squares.min() / _SPAN, squares.max() * _SPAN
    grid = np.geomspace(least, most, _STARTS)
    t = float(grid[int(np.argmax([_evidence(t, squares, along, rest, n) for t in grid]))])
    best = before = _evidence(t, squares, along, rest, n)
    for _ in range(_STEPS):
        gamma = float((squares / (t + squares)).sum())
        residual = float((along * (t / (t + squares)) ** 2).sum()) + rest
        length = float((along * squares / (t + squares) ** 2).sum())  # of the mean weights, squared
        if length <= 0 or n <= gamma:
            break  # nothing is explained, or everything may be: the grid's end says how well
        t = min(max(gamma * residual / ((n - gamma) * length), least), most)
        now = _evidence(t, squares, along, rest, n)
        best = max(best, now)
        if abs(now - before) < _CLOSE:
            break
        before = now
    return best


def _evidence(t: float, squares: Array, along: Array, rest: float, n: int) -> float:
    """Log evidence per sample at α = t β and the β that is best for it, n / (‖F m - y‖² + t ‖m‖²)."""
    error = float((along * t / (t + squares)).sum()) + rest
    error = max(error, np.finfo(np.float64).tiny)
    fit = n / 2 * (math.log(n / error) - 1 - math.log(2 * math.pi))
    return (fit - float(np.log1p(squares / t).sum()) / 2) / n
