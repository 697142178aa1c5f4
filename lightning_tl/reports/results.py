"""The numbers that a test ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.metrics import expected_calibration_error, labels_calibration_error, tempered
from lightning_tl.reports.predictions import Predictions
from lightning_tl.tasks import OneLabel, SeveralLabels, Values


def evaluation_results(
    predictions: Predictions, class_names: Sequence[str], blocks: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """What the task reports, with intervals, ready for JSON.

    For several labels a sample, the accuracy is the mean share of right labels, and there is no confusion
    matrix. For a task without classes or values only the number of samples is given.

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


def calibrated_error(predictions: Predictions, temperature: float) -> float:
    """The calibration error of predictions whose logits are divided by a temperature.

    Args:
        predictions: of one label or several, with their logits.
        temperature: above 0.
    """
    several = predictions.task == SeveralLabels.name
    error = labels_calibration_error if several else expected_calibration_error
    return error(calibrated(predictions, temperature), predictions.target)


def calibrated(predictions: Predictions, temperature: float) -> NDArray[np.float64]:
    """Probabilities [n, classes] at a temperature, of predictions with their logits."""
    assert predictions.logits is not None
    return tempered(predictions.logits, temperature, predictions.task == SeveralLabels.name)
