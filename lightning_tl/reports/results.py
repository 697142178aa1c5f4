"""The numbers that a test ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.predictions import Predictions
from lightning_tl.tasks import OneLabel, SeveralLabels, Values


def evaluation_results(
    predictions: Predictions, class_names: Sequence[str], blocks: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """What the task reports, with intervals, ready for JSON.

    For several labels a sample, the accuracy is the mean share of right labels, and there is neither a calibration
    error nor a confusion matrix. For a task without classes or values only the number of samples is given.

    Args:
        predictions: on the test set.
        class_names: in the order of the model's outputs.
        blocks: [n] block of each sample, for the interval; None when samples are independent.
    """
    results: dict[str, Any] = {"samples": len(predictions.index), "task": predictions.task}
    given, target = predictions.probabilities, predictions.target
    if predictions.task == "one label":
        return {**results, **OneLabel().results(given, target, class_names, blocks)}
    if predictions.task == "several labels":
        return {**results, **SeveralLabels().results(given, target, class_names, blocks)}
    if predictions.task == "values":
        return {**results, **Values([0.0], [1.0]).results(given, target, class_names, blocks)}
    return results
