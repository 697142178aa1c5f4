"""Proxy A-distance: how well a linear classifier tells two domains apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from lightning_tl.choosing.distance.pair_of_samples import Features, Places, checked_blocks, checked_pair, drawn
from lightning_tl.metrics import bootstrap_mean
from lightning_tl.strategies.probe.linear_probe import L2_GRID
from lightning_tl.training.convex import solve_linear

MOST_PER_SIDE = 4_000


@dataclass(frozen=True)
class ProxyA:
    """2 (1 - 2ε), where ε is a domain classifier's error on samples and blocks that it was not fitted to.

    Args:
        distance: in 0…2; 0 where the classifier guesses, 2 where it never errs.
        low: lower end of its 95% interval.
        high: upper end.
        accuracy: 1 - ε, the mean of both domains' own.
        accuracy_low: lower end of its 95% interval.
        accuracy_high: upper end.
        folds: of the cross-validation.
        samples: of source and target, that were used.
        by_block: whether folds and interval keep blocks together.
    """

    distance: float
    low: float
    high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    folds: int
    samples: tuple[int, int]
    by_block: bool


def proxy_a(
    first: ArrayLike,
    second: ArrayLike,
    blocks: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    folds: int = 5,
    seed: int = 0,
    most_per_side: int = MOST_PER_SIDE,
) -> ProxyA:
    """Ben-David et al. (2007), section 4, by cross-validated logistic regression with an exact solution.

    Both domains count the same, whatever their numbers: in the loss, and in ε, which is the mean of their two errors.
    Samples of a block lie in one fold. The penalty is chosen within the training folds. By chance a classifier may do
    worse than guessing; the distance is then 0.

    Args:
        first: [m, dim].
        second: [n, dim].
        blocks: of the samples of each, [m] and [n]; None when independent.
        folds: at least 3: one is tested on, one chooses the penalty.
        seed: of folds and draws.
        most_per_side: more samples than this are drawn from.

    Raises:
        ValueError: as `checked_pair`, or fewer samples or blocks on a side than folds.
    """
    if folds < 3:
        raise ValueError(f"folds must be at least 3, got {folds}: one is tested on, one chooses the penalty")
    x, y = checked_pair(first, second, fewest=folds)
    generator = np.random.default_rng(seed)
    kept, groups = [], []
    for name, side, given, start in (("source", x, blocks[0], 0), ("target", y, blocks[1], len(x))):
        of_side = checked_blocks(given, len(side), start)
        chosen = drawn(of_side, most_per_side, generator)
        if (count := len(np.unique(of_side[chosen]))) < folds:
            raise ValueError(f"{folds} folds need at least as many blocks on each side, but the {name} has {count}")
        kept.append(side[chosen])
        groups.append(of_side[chosen])
    features, target = np.concatenate(kept), np.repeat([0, 1], [len(side) for side in kept])
    in_blocks = np.concatenate(groups)
    fold = np.concatenate([_folds(group, folds, generator) for group in groups])
    wrong = np.empty(len(target))
    for train, validation, test in _rounds(fold, folds):
        wrong[test] = _errors(features, target, train, validation, test)
    scale = len(target) / (2 * np.bincount(target))  # so that the mean is that of both domains' errors
    by_block = len(np.unique(in_blocks)) < len(target)
    error = bootstrap_mean(
        wrong * scale[target], in_blocks if by_block else None, seed=seed, bounds=(0.0, float(scale.max()))
    )
    low, high = max(0.0, error.low), min(1.0, error.high)
    ends = [float(np.clip(2 * (1 - 2 * each), 0, 2)) for each in (error.mean, high, low)]
    sizes = len(kept[0]), len(kept[1])
    return ProxyA(ends[0], ends[1], ends[2], 1 - error.mean, 1 - high, 1 - low, folds, sizes, by_block)


def _folds(blocks: Places, folds: int, generator: np.random.Generator) -> Places:
    """The fold of each sample [n]: blocks in turn, the largest first, each to the fold that is smallest."""
    _, number, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
    order = generator.permutation(len(sizes))
    filled, fold_of = np.zeros(folds), np.empty(len(sizes), np.int64)
    for block in order[np.argsort(-sizes[order], kind="stable")].tolist():
        fold_of[block] = int(filled.argmin())
        filled[fold_of[block]] += sizes[block]
    found: Places = fold_of[number]
    return found


def _rounds(fold: Places, folds: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Which samples are trained on, choose the penalty, and are tested on, in turn."""
    for k in range(folds):
        test, validation = fold == k, fold == (k + 1) % folds
        yield ~test & ~validation, validation, test


def _errors(
    features: Features,
    target: Places,
    train: NDArray[np.bool_],
    validation: NDArray[np.bool_],
    test: NDArray[np.bool_],
) -> Features:
    """1 for each test sample that is put into the wrong domain, and ½ for one right between both."""
    counts = np.bincount(target[train], minlength=2)
    weights = torch.from_numpy(counts.sum() / (2 * counts)).double()
    data = [(torch.from_numpy(features[part]), torch.from_numpy(target[part])) for part in (train, validation)]
    found = solve_linear(data[0], data[1], 2, nn.CrossEntropyLoss(weight=weights), L2_GRID)
    logits = features[test] @ found.weight.double().numpy().T + found.bias.double().numpy()
    margin = (logits[:, 1] - logits[:, 0]) * np.where(target[test] == 1, 1, -1)
    errors: Features = np.where(margin < 0, 1.0, np.where(margin == 0, 0.5, 0.0))
    return errors
