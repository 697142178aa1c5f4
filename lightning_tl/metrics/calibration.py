"""Whether a confidence of 0.8 is right 8 times out of 10."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torchmetrics.functional.classification import multiclass_calibration_error


def expected_calibration_error(probabilities: ArrayLike, target: ArrayLike, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equally wide bins of confidence, weighted by their samples.

    Equation 3 of Guo et al. (2017), "On Calibration of Modern Neural Networks". 0 is best; 15 bins as in the paper.

    Args:
        probabilities: [n, classes], rows that sum to 1.
        target: [n] class numbers.
        bins: number of bins between 0 and 1.

    Raises:
        ValueError: when the shapes do not fit, a probability lies outside [0, 1], or a target is no class.
    """
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(target)
    if p.ndim != 2 or t.shape != (len(p),) or len(p) == 0:
        raise ValueError(f"expected probabilities [n, classes] and target [n] with n ≥ 1, got {p.shape} and {t.shape}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if p.min() < 0 or p.max() > 1 + 1e-6:  # else they would be taken for logits
        raise ValueError(f"probabilities must be in [0, 1], got {p.min():g} … {p.max():g}; pass the softmax")
    if t.min() < 0 or t.max() >= p.shape[1]:
        raise ValueError(f"target must be in 0…{p.shape[1] - 1}, got {t.min()} … {t.max()}")
    tensor = torch.from_numpy(p.clip(0, 1))
    error = multiclass_calibration_error(tensor, torch.from_numpy(t.astype(np.int64)), p.shape[1], n_bins=bins)
    return float(error)
