"""Scores of several runs from their confusion matrices, with intervals over runs and blocks of samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.block_bootstrap import BootstrapInterval

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def accuracy(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of right predictions, from counts [..., true, predicted]."""
    hits: NDArray[np.float64] = np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))
    return hits


def mean_f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the classes of F1, from counts [..., true, predicted]; 0 for a class that is never there."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(-1) + confusion.sum(-2)
    scores: NDArray[np.float64] = np.where(total > 0, 2 * hits / np.maximum(total, 1e-12), 0.0).mean(-1)
    return scores


def quadratic_kappa(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Agreement beyond chance of ordered classes, from counts [..., true, predicted] (Cohen 1968).

    A mistake weighs the square of its distance in classes. Where all is of one class, 0.
    """
    classes = confusion.shape[-1]
    weight = np.square(np.arange(classes)[:, None] - np.arange(classes)[None]).astype(np.float64)
    total = confusion.sum((-2, -1))
    expected = confusion.sum(-1)[..., :, None] * confusion.sum(-2)[..., None, :] / total[..., None, None]
    by_chance = (weight * expected).sum((-2, -1))
    found = (weight * confusion).sum((-2, -1))
    kappa: NDArray[np.float64] = np.where(by_chance > 0, 1 - found / np.where(by_chance > 0, by_chance, 1), 0.0)
    return kappa


def score_interval(
    score: Score,
    target: ArrayLike,
    first: ArrayLike,
    second: ArrayLike | None,
    classes: int,
    blocks: ArrayLike | None = None,
    draws: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> BootstrapInterval:
    """Mean score over runs, or the mean difference of paired runs, with its percentile interval.

    A draw takes as many runs as there are and as many blocks as there are, both with replacement, the same for both
    sides: what run (its labels, its seed) and block share cancels.

    Args:
        score: of counts [..., true, predicted].
        target: [n] true class numbers.
        first: [runs, n] predicted class numbers.
        second: the same of the runs to compare with, paired by row; None for the score of `first` itself.
        classes: how many there are.
        blocks: [n] block of each sample; None when the samples are independent.
        draws: how often runs and blocks are drawn, at least 1.
        level: share of the draws inside the interval, in (0, 1).
        seed: of the draws.

    Raises:
        ValueError: when the shapes do not go together.
    """
    truth, sides = np.asarray(target), [np.atleast_2d(side) for side in (first, second) if side is not None]
    if any(side.shape != sides[0].shape or side.shape[1] != len(truth) for side in sides):
        shapes = ", ".join(str(side.shape) for side in sides)
        raise ValueError(f"predictions must be [runs, {len(truth)}] on both sides, got {shapes}")
    if any(values.min() < 0 or values.max() >= classes for values in (truth, *sides)):
        raise ValueError(f"class numbers must be from 0 to {classes - 1}")
    if blocks is not None and np.shape(blocks) != truth.shape:
        raise ValueError(f"blocks must name one block for each of {len(truth)} samples, got {np.shape(blocks)}")
    runs = len(sides[0])
    _, number = np.unique(np.arange(len(truth)) if blocks is None else np.asarray(blocks), return_inverse=True)
    count = int(number.max()) + 1
    tables = [np.stack([_by_block(truth, row, number, count, classes) for row in side]) for side in sides]

    def mean(weights: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
        scores = [score((weights @ table).reshape(runs, classes, classes))[chosen].mean() for table in tables]
        return float(scores[0] - scores[1]) if len(scores) == 2 else float(scores[0])

    generator = np.random.default_rng(seed)
    drawn = [
        mean(np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64), chosen)
        for chosen in generator.integers(runs, size=(draws, runs))
    ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    whole = mean(np.ones(count), np.arange(runs))
    return BootstrapInterval(whole, float(low), float(high), level, len(truth), count)


def _by_block(
    target: NDArray[np.int64], predicted: NDArray[np.int64], number: NDArray[np.int64], blocks: int, classes: int
) -> NDArray[np.float64]:
    """Counts of each block: [blocks, classes * classes]."""
    cells = (number * classes + target) * classes + predicted
    counts = np.bincount(cells, minlength=blocks * classes * classes).astype(np.float64)
    return counts.reshape(blocks, classes * classes)
