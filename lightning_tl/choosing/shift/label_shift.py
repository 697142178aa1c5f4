"""Label shift: shares of classes in new data, from a model's confusion matrix and its predictions there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, chi2_contingency

LEAST_SINGULAR = 0.05  # an error in the predictions' shares grows to at most twenty times that
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class LabelShift:
    """Shares of classes where a model was judged, and in new data.

    Args:
        known: [classes] shares among the labelled samples.
        estimated: [classes] shares in the new data, at least 0 and 1 in all.
        low: [classes] lower ends of 95% intervals.
        high: [classes] upper ends.
        p_value: of the hypothesis that both have the same shares.
        least_singular: smallest singular value of the matrix of P(predicted | true).
        cut: whether the solution had shares below 0, which were set to 0.
        samples: labelled and new.
    """

    known: Shares
    estimated: Shares
    low: Shares
    high: Shares
    p_value: float
    least_singular: float
    cut: bool
    samples: tuple[int, int]


def label_shift(
    true: ArrayLike,
    predicted: ArrayLike,
    new: ArrayLike,
    num_classes: int,
    blocks: ArrayLike | None = None,
    draws: int = 1_000,
    seed: int = 0,
) -> LabelShift:
    """Black-box shift estimation (Lipton et al. 2018, section 4): solve P(predicted | true) q = shares of predictions.

    It holds where classes look as they did and only their shares have changed, p(x | y) being the same: that cannot be
    seen from predictions. The interval is a percentile bootstrap of both samples, of whole blocks of the labelled ones.
    The test asks whether predictions have the same shares in both, which for an invertible matrix is the case only
    where classes have: chi-squared, or where samples come in blocks Wald's with the bootstrap's covariance. The new
    samples count as independent.

    Args:
        true: [n] class numbers of labelled samples that the model was not trained on.
        predicted: [n] what the model says of them.
        new: [m] what it says of new samples.
        num_classes: of the model.
        blocks: [n] block of each labelled sample; None when independent.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        ValueError: no samples, numbers that are no classes, a class without labelled samples, or a confusion matrix so
            near to singular that shares cannot be told from predictions.
    """
    y, said, there = (
        _classes(values, num_classes, name) for values, name in ((true, "true"), (predicted, "predicted"), (new, "new"))
    )
    check_confusion(y, said, num_classes)
    counts = np.bincount(there, minlength=num_classes)
    matrix = _conditional(y, said, num_classes)
    solution = np.linalg.solve(matrix, counts / counts.sum())
    generator = np.random.default_rng(seed)
    estimates, differences = [], []
    for weights in _weights(len(y), blocks, draws, generator):
        drawn = generator.multinomial(len(there), counts / counts.sum()) / len(there)
        differences.append(np.bincount(said, weights, num_classes) / weights.sum() - drawn)
        try:
            estimates.append(_shares(np.linalg.solve(_conditional(y, said, num_classes, weights), drawn)))
        except np.linalg.LinAlgError:
            continue  # a draw without a class, or with two that look the same
    if len(estimates) < draws / 2:
        raise ValueError(
            "most draws of the bootstrap have a class without samples or a singular confusion matrix: too few labelled "
            "samples to estimate shares from"
        )
    low, high = np.quantile(np.stack(estimates), [0.025, 0.975], axis=0)
    return LabelShift(
        known=np.bincount(y, minlength=num_classes) / len(y),
        estimated=_shares(solution),
        low=np.minimum(low, _shares(solution)),
        high=np.maximum(high, _shares(solution)),
        p_value=_p_value(said, counts, num_classes, np.stack(differences) if blocks is not None else None),
        least_singular=float(np.linalg.svd(matrix, compute_uv=False).min()),
        cut=bool((solution < 0).any()),
        samples=(len(y), len(there)),
    )


def check_confusion(true: ArrayLike, predicted: ArrayLike, num_classes: int) -> None:
    """Whether shares can be estimated by this confusion matrix at all, before anything is predicted.

    Raises:
        ValueError: see `label_shift`.
    """
    y, said = _classes(true, num_classes, "true"), _classes(predicted, num_classes, "predicted")
    if len(y) != len(said):
        raise ValueError(f"there must be one prediction for each label, got {len(said)} for {len(y)}")
    absent = np.flatnonzero(np.bincount(y, minlength=num_classes) == 0)
    if len(absent):
        raise ValueError(
            f"{len(absent)} of {num_classes} classes, the first number {absent[0]}, have no labelled sample that the "
            "model was judged on, so their shares elsewhere cannot be estimated: name the shares yourself"
        )
    least = float(np.linalg.svd(_conditional(y, said, num_classes), compute_uv=False).min())
    if least < LEAST_SINGULAR:
        raise ValueError(
            f"the confusion matrix is near singular (smallest singular value {least:.2g}, below {LEAST_SINGULAR:g}): "
            "the model mixes up classes so much that their shares cannot be told from its predictions; name the shares "
            "yourself, or train a model that tells the classes apart"
        )


def reweighted(probabilities: ArrayLike, trained: ArrayLike, priors: ArrayLike) -> Shares:
    """Probabilities of a model under other shares of classes: Saerens et al. (2002), equation 2.4; Elkan (2001).

    Args:
        probabilities: [n, classes], rows of sum 1.
        trained: [classes] shares of classes in training, each above 0.
        priors: [classes] shares to correct for, at least 0.

    Raises:
        ValueError: shapes or shares that do not fit.
    """
    p, old, wanted = (np.asarray(values, dtype=np.float64) for values in (probabilities, trained, priors))
    if p.ndim != 2 or old.shape != wanted.shape or old.shape != p.shape[1:]:
        raise ValueError(f"one share for each class is needed, got {p.shape}, {old.shape} and {wanted.shape}")
    if not (old > 0).all() or not (wanted >= 0).all() or not wanted.sum() > 0:
        raise ValueError("shares in training must be above 0, and those to correct for at least 0 and not all 0")
    weighted = p * (wanted / wanted.sum() / (old / old.sum()))
    total = weighted.sum(1, keepdims=True)
    # A row whose whole probability lies on classes of share 0 is left to the shares themselves.
    found: Shares = np.where(total > 0, weighted / np.where(total > 0, total, 1), wanted / wanted.sum())
    return found


def _classes(values: ArrayLike, num_classes: int, name: str) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 1 or len(found) == 0:
        raise ValueError(f"{name} must be one class number for each of at least one sample, got shape {found.shape}")
    if found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= num_classes:
        raise ValueError(f"{name} must be class numbers in 0…{num_classes - 1}")
    return found.astype(np.int64)


def _conditional(
    true: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int, weights: Shares | None = None
) -> Shares:
    """P(predicted | true): [predicted, true], columns of sum 1."""
    flat = np.bincount(predicted * num_classes + true, weights, num_classes**2)
    counts = flat.reshape(num_classes, num_classes).astype(np.float64)
    totals = counts.sum(0)
    if (totals == 0).any():
        raise np.linalg.LinAlgError("a class without samples")
    found: Shares = counts / totals
    return found


def _weights(samples: int, blocks: ArrayLike | None, draws: int, generator: np.random.Generator) -> Iterator[Shares]:
    """How often each sample is drawn, in each draw: [samples]."""
    number = np.arange(samples) if blocks is None else np.unique(np.asarray(blocks), return_inverse=True)[1]
    count = int(number.max()) + 1
    for _ in range(draws):
        yield np.bincount(generator.integers(count, size=count), minlength=count)[number].astype(np.float64)


def _shares(solution: NDArray[Any]) -> Shares:
    cut: Shares = np.maximum(solution, 0)
    cut /= cut.sum()
    return cut


def _p_value(said: NDArray[np.int64], new: NDArray[np.int64], num_classes: int, differences: Shares | None) -> float:
    counts = np.stack([np.bincount(said, minlength=num_classes), new])
    if differences is None:
        table = counts[:, counts.sum(0) > 0]
        return float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else 1.0
    observed = counts[0] / counts[0].sum() - counts[1] / counts[1].sum()
    covariance = np.cov(differences, rowvar=False)
    rank = int(np.linalg.matrix_rank(covariance, tol=1e-12))
    return float(chi2.sf(observed @ np.linalg.pinv(covariance, rcond=1e-9) @ observed, max(rank, 1)))
