"""Fréchet distance between Gaussians that have the means and covariances of two samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lightning_tl.choosing.distance.pair_of_samples import Features, checked_pair

_HALVES = 3


@dataclass(frozen=True)
class Frechet:
    """The squared distance, and what can be said of its bias.

    Args:
        squared: of the samples' own means and covariances, in squared units of the features, at least 0.
        extrapolated: to samples without end, as the bias shrinks with 1/n (Chong & Forsyth 2020); at least 0. None
            where a side has too few samples for that, fewer than twice the dimension.
        share_of_mean: of `squared`, what the distance of the means accounts for, in 0…1.
        full_rank: whether both sides have more samples than dimensions; where not, `squared` is far too large.
    """

    squared: float
    extrapolated: float | None
    share_of_mean: float
    full_rank: bool


def frechet(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Frechet:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½), Fréchet (1957) as used by Heusel et al. (2017).

    Equal distributions have a distance above 0 in finite samples, by about the same amount for twice as far as for
    half as many samples, which `extrapolated` takes off.

    Args:
        first: [m, dim].
        second: [n, dim].
        seed: of the halves that the extrapolation rests on.

    Raises:
        ValueError: as `checked_pair`.
    """
    x, y = checked_pair(first, second, fewest=2)
    dim = x.shape[1]
    mean, spread = _terms(x, y)
    extrapolated = None
    if min(len(x), len(y)) >= 2 * dim and min(len(x), len(y)) >= 4:
        generator = np.random.default_rng(seed)
        halves = [sum(_terms(_half(x, generator), _half(y, generator))) for _ in range(_HALVES)]
        extrapolated = max(0.0, 2 * (mean + spread) - float(np.mean(halves)))
    total = mean + spread
    return Frechet(total, extrapolated, mean / total if total > 0 else 0.0, min(len(x), len(y)) > dim)


def frechet_of_moments(first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike]) -> tuple[float, float]:
    """The distance's two terms, of means and of covariances, from mean [dim] and covariance [dim, dim] of each.

    tr (Σ₁ Σ₂)^½ is the sum of the singular values of Σ₁^½ Σ₂^½, whose factors come from eigenvalues that are cut at
    0: covariances without full rank need no ridge, and nothing becomes complex.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a covariance that is none.
    """
    (mean_1, roots_1, trace_1), (mean_2, roots_2, trace_2) = (_moments(*each) for each in (first, second))
    if len(mean_1) != len(mean_2):
        raise ValueError(f"both must have one dimension, got {len(mean_1)} and {len(mean_2)}")
    common = float(np.linalg.svd(roots_1.T @ roots_2, compute_uv=False).sum())
    return float(np.square(mean_1 - mean_2).sum()), max(0.0, trace_1 + trace_2 - 2 * common)


def _moments(mean: ArrayLike, covariance: ArrayLike) -> tuple[Features, Features, float]:
    """Mean [dim], a factor L [dim, dim] of the covariance L Lᵀ, and its trace."""
    middle, matrix = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if middle.ndim != 1 or matrix.shape != (len(middle), len(middle)):
        raise ValueError(f"a mean [dim] and a covariance [dim, dim] are needed, got {middle.shape} and {matrix.shape}")
    if not (np.isfinite(middle).all() and np.isfinite(matrix).all()):
        raise ValueError("mean and covariance must be finite")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if values.min() < -1e-6 * max(float(values.max()), 1e-300):
        raise ValueError(f"a covariance has no eigenvalues below 0, got {values.min():g}")
    return middle, vectors * np.sqrt(np.maximum(values, 0)), float(np.maximum(values, 0).sum())


def _terms(x: Features, y: Features) -> tuple[float, float]:
    moments = [(side.mean(0), np.atleast_2d(np.cov(side, rowvar=False))) for side in (x, y)]
    return frechet_of_moments(moments[0], moments[1])


def _half(side: Features, generator: np.random.Generator) -> Features:
    return side[generator.permutation(len(side))[: len(side) // 2]]
