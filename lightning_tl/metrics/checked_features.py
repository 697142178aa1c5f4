"""Features as scores take them, or one error that says what is wrong with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-6  # of float32, in which networks compute


def checked_features(values: ArrayLike, fewest: int = 2, what: str = "features") -> NDArray[np.float64]:
    """The same in float64, [n, dim].

    Args:
        values: [n, dim].
        fewest: samples that are needed.
        what: they are, for messages.

    Raises:
        ValueError: another shape, too few samples, values that are not finite, or the same features for every sample.
    """
    features = np.asarray(values, dtype=np.float64)
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"{what} must be [samples, dim] with dim at least 1, got shape {list(features.shape)}")
    if len(features) < fewest:
        raise ValueError(f"{what} of at least {fewest} samples are needed, got {len(features)}")
    if not np.isfinite(features).all():
        samples = int((~np.isfinite(features)).any(1).sum())
        raise ValueError(
            f"{what} must be finite, but those of {samples} of {len(features)} samples are not: take precision 32, or "
            "look at the inputs"
        )
    if np.ptp(features, axis=0).max() <= _ROUNDING * np.abs(features).max():
        raise ValueError(
            f"{what} are the same for all {len(features)} samples, so they tell nothing: look at the inputs, or at the "
            "weights that they come from"
        )
    return features
