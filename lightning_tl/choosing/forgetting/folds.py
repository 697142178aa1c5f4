"""Folds of samples, and a probe's scores of samples that it was not solved on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_tl.choosing.features.labelled_features import LabelledFeatures
from lightning_tl.choosing.transferability.transfer_scores import scores_of_probe, solve_probe
from lightning_tl.metrics.checked_features import checked_features

L2 = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # fewer than of one probe: weak ones take long, and there are many to solve
FOLDS, FEWEST = 5, 3  # of three folds one trains, one chooses the penalty, one is scored
Places = NDArray[np.int64]


def folds_of(labels: NDArray[np.int64] | None, blocks: Places | None, samples: int, seed: int = 0) -> Places:
    """The fold of each sample, [samples] in 0…4, or fewer folds where there are fewer blocks.

    Args:
        labels: [samples] class numbers, whose samples are spread evenly; None where there are none.
        blocks: [samples] block of each, which stays in one fold; None spreads single samples.
        samples: their number.
        seed: of the order in which samples or blocks are dealt.

    Raises:
        ValueError: fewer than three samples or blocks.
    """
    random = np.random.default_rng(seed)
    units = np.arange(samples) if blocks is None else np.unique(blocks, return_inverse=True)[1]
    count = int(units.max(initial=-1)) + 1
    if count < FEWEST:
        what = "samples" if blocks is None else "blocks of samples"
        raise ValueError(
            f"at least {FEWEST} {what} are needed, to score a probe on others than it is solved on, got {count}"
        )
    folds = min(FOLDS, count)
    if blocks is None:
        order = random.permutation(samples)
        order = order if labels is None else order[np.argsort(labels[order], kind="stable")]
        dealt = np.zeros(samples, np.int64)
        dealt[order] = np.arange(samples) % folds
        return dealt
    sizes, held = np.bincount(units), np.zeros(folds, np.int64)
    of_block = np.zeros(count, np.int64)
    shuffled = random.permutation(count)
    for block in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:  # the largest first, each to the emptiest fold
        of_block[block] = int(held.argmin())
        held[of_block[block]] += sizes[block]
    return of_block[units]


def scores_out_of_fold(features: LabelledFeatures, folds: Places) -> NDArray[np.float64]:
    """A linear probe's score of each sample, [n], solved on folds without it; as `TransferScores.probe`.

    For each fold the next one chooses the strength of the penalty and the others are solved on.

    Args:
        features: of all samples; which of them are for training plays no part.
        folds: [n] fold of each sample.

    Raises:
        ValueError: features that are not finite or all the same.
    """
    checked_features(features.values)
    count = int(folds.max()) + 1
    scores = np.zeros(len(folds))
    for fold in range(count):
        scored, choosing = folds == fold, folds == (fold + 1) % count
        train, validation, test = (
            (features.values[part], features.target[part]) for part in (~scored & ~choosing, choosing, scored)
        )
        solution = solve_probe(train, validation, features.task, len(features.class_names), L2)
        scores[scored] = scores_of_probe(solution, test, features.task)
    return scores
