"""Linear centred kernel alignment of two networks' features."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.checked_features import checked_features

Array = NDArray[np.float64]
FEWEST = 4  # samples, by the estimator's denominator n (n - 3)


def kernel_alignment(first: ArrayLike, second: ArrayLike) -> float:
    """How alike two sets of features of the same samples are: 1 if one is the other turned, scaled and moved.

    Linear CKA (Kornblith et al. 2019, equation 2), HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)) with K = X Xᵀ, L = Y Yᵀ, by
    the estimator of HSIC without bias (Song et al. 2012) that Nguyen et al. (2021, equation 3) average over
    minibatches. With the biased one, features that have nothing in common come out alike when there are few samples
    for their dimensions. As the kernels are linear, neither is ever formed: products of [dim, dim] give the estimate
    over all samples at once, which takes the place of the average over minibatches. 0 is expected of independent
    features, and estimates may lie somewhat below 0.

    Args:
        first: [n, dim].
        second: [n, other dim], of the same samples in the same order.

    Raises:
        ValueError: for different samples, fewer than 4, features that are not finite or are the same for all samples,
            or so few different ones that they do not tell.
    """
    x, y = (_centred(checked_features(f, FEWEST)) for f in (first, second))
    if len(x) != len(y):
        raise ValueError(f"both must be features of the same samples, got {len(x)} and {len(y)}")
    own = _independence(x, x) * _independence(y, y)
    if min(_independence(x, x), _independence(y, y)) <= 1e-14:
        raise ValueError(
            f"the features of too few of the {len(x)} samples differ from the others to be compared: take more samples"
        )
    return _independence(x, y) / math.sqrt(own)


def _centred(features: Array) -> Array:
    """Features with mean 0 and a mean squared length of 1: HSIC does not change by the one, CKA by neither."""
    moved = features / np.abs(features).max()
    moved = moved - moved.mean(0)
    scaled: Array = moved / math.sqrt(float((moved**2).sum(1).mean()))
    return scaled


def _independence(x: Array, y: Array) -> float:
    """HSIC of linear kernels without bias: equation 5 of Song et al. (2012), with K and L written as products."""
    n = len(x)
    own_x, own_y = (x**2).sum(1), (y**2).sum(1)  # the diagonals of K and L, which the estimator leaves out
    rows_x, rows_y = x @ x.sum(0) - own_x, y @ y.sum(0) - own_y
    trace = float(((x.T @ y) ** 2).sum() - own_x @ own_y)
    sums = float(rows_x.sum() * rows_y.sum()) / ((n - 1) * (n - 2))
    return (trace + sums - 2 / (n - 2) * float(rows_x @ rows_y)) / (n * (n - 3))
