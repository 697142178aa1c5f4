"""Whether a confidence of 0.8 is right 8 times out of 10."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error


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


def labels_calibration_error(probabilities: ArrayLike, target: ArrayLike, bins: int = 15) -> float:
    """As `expected_calibration_error` of several labels, over all their answers: how often a label of 0.8 holds.

    Args:
        probabilities: [n, labels], each label's for itself.
        target: [n, labels] of 0 and 1.
        bins: number of bins between 0 and 1.

    Raises:
        ValueError: when the shapes do not fit, a probability lies outside [0, 1], or a target is neither 0 nor 1.
    """
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(target)
    if p.ndim != 2 or t.shape != p.shape or p.size == 0:
        raise ValueError(f"expected probabilities and target [n, labels] with n ≥ 1, got {p.shape} and {t.shape}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if p.min() < 0 or p.max() > 1 + 1e-6:
        raise ValueError(f"probabilities must be in [0, 1], got {p.min():g} … {p.max():g}; pass the sigmoid")
    if not np.isin(t, (0, 1)).all():
        raise ValueError("targets of several labels must be 0 or 1")
    given, truth = torch.from_numpy(p.clip(0, 1).ravel()), torch.from_numpy(t.astype(np.int64).ravel())
    return float(binary_calibration_error(given, truth, n_bins=bins))


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples of like confidence.

    Args:
        lowest: their lowest confidence.
        highest: their highest.
        confidence: their mean confidence.
        right: the share of them that is right.
        samples: how many they are.
    """

    lowest: float
    highest: float
    confidence: float
    right: float
    samples: int


def reliability_bins(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> list[ReliabilityBin]:
    """Bins of about as many samples each, from the least confident to the most (Nguyen & O'Connor 2015).

    Samples of equal confidence stay in one bin, so that there may be fewer bins.

    Args:
        confidence: [n].
        right: [n] of 0 and 1.
        bins: the most bins.
    """
    c, r = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if c.ndim != 1 or c.shape != r.shape or not len(c):
        raise ValueError(f"expected confidence and right [n] with n ≥ 1, got {c.shape} and {r.shape}")
    order = np.argsort(c, kind="stable")
    c, r = c[order], r[order]
    wanted = c[np.linspace(0, len(c), bins + 1).astype(int)[1:-1].clip(0, len(c) - 1)]
    starts = np.unique([0, *np.searchsorted(c, wanted)])
    return [_bin(c[a:b], r[a:b]) for a, b in zip(starts, [*starts[1:], len(c)], strict=True)]


def confidence_of(probabilities: ArrayLike, target: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How sure each answer is, and whether it is right.

    Args:
        probabilities: [n, classes].
        target: [n] class numbers: an answer for each sample, its largest probability; or [n, labels] of 0 and 1: an
            answer for each sample and label, that it holds.

    Returns:
        both of the same length.
    """
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(target)
    if t.ndim == 2:
        return p.ravel(), t.astype(np.float64).ravel()
    return p.max(1), (p.argmax(1) == t).astype(np.float64)


def _bin(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> ReliabilityBin:
    means = float(confidence.mean()), float(right.mean())
    return ReliabilityBin(float(confidence[0]), float(confidence[-1]), *means, len(right))
