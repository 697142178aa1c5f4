"""Recall, precision and F1 of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_stat_scores,
    multilabel_stat_scores,
)


@dataclass(frozen=True)
class ClassScores:
    """How well one class is recognised; 0 where a score is not defined.

    Args:
        name: of the class.
        recall: share of the class's samples that were found.
        precision: share of the samples predicted as this class that are.
        f1: harmonic mean of the two.
        support: number of samples of the class.
        predicted: number of samples predicted as this class.
    """

    name: str
    recall: float
    precision: float
    f1: float
    support: int
    predicted: int


def class_scores(
    target: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str]
) -> list[ClassScores]:
    """Scores of every class, in the order of `class_names`.

    Args:
        target: [n] class numbers, or [n, classes] of 0 and 1 for several labels.
        predicted: as `target`.
        class_names: by class number.
    """
    count = multiclass_stat_scores if target.ndim == 1 else multilabel_stat_scores
    counts = count(_tensor(predicted), _tensor(target), len(class_names), average=None)
    scores = []
    for name, (hits, false_alarms, _, misses, support) in zip(class_names, counts.tolist(), strict=True):
        guessed = hits + false_alarms
        recall, precision = hits / max(1, support), hits / max(1, guessed)
        f1 = 2 * hits / max(1, 2 * hits + false_alarms + misses)
        scores.append(ClassScores(name, recall, precision, f1, support, guessed))
    return scores


def macro_f1(scores: Sequence[ClassScores]) -> float:
    """Mean F1 over the classes that occur as a label or as a prediction, as torchmetrics' macro average."""
    present = [s.f1 for s in scores if s.support or s.predicted]
    return float(np.mean(present)) if present else 0.0


def confusion_counts(target: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Samples of true class (row) predicted as class (column): [classes, classes]."""
    counts: NDArray[np.int64] = multiclass_confusion_matrix(_tensor(predicted), _tensor(target), num_classes).numpy()
    return counts


def _tensor(labels: NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64))
