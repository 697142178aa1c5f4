"""The most confident mistakes of a classifier: what its sheets of wrong samples show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.predictions import Predictions


@dataclass(frozen=True)
class Mistake:
    """A sample that was taken for another class.

    Args:
        index: of the sample in its data set.
        name: of the sample.
        truth: its class.
        guess: the class that it was taken for.
        confidence: the probability given to that class.
    """

    index: int
    name: str
    truth: str
    guess: str
    confidence: float


def most_confident_mistakes(predictions: Predictions, count: int) -> NDArray[np.int64]:
    """Rows of `predictions` that are wrong, the most confident first, at most `count`."""
    wrong = np.flatnonzero(predictions.predicted != predictions.target)
    confidence = predictions.probabilities.max(1)[wrong]
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


def mistakes(
    predictions: Predictions, class_names: Sequence[str], ids: Callable[[Sequence[int]], Sequence[str]], count: int
) -> tuple[list[Mistake], str]:
    """The mistakes to show, and the title of a sheet of them.

    Args:
        predictions: one label a sample.
        class_names: in the order of the model's outputs.
        ids: names of samples by index.
        count: the most to show.
    """
    rows = most_confident_mistakes(predictions, count)
    index = [int(k) for k in predictions.index[rows]]
    found = []
    for row, number, name in zip(rows, index, ids(index) if index else (), strict=True):
        guess = int(predictions.predicted[row])
        confidence = float(predictions.probabilities[row, guess])
        found.append(Mistake(number, name, class_names[int(predictions.target[row])], class_names[guess], confidence))
    total = int((predictions.predicted != predictions.target).sum())
    which = f"all {total}" if total == len(rows) else f"the {len(rows)} most confident of {total:,}"
    return found, f"Wrong predictions on the test set: {which}"
