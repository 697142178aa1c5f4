"""The numbers that a test ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.metrics import (
    bootstrap_mean,
    class_scores,
    confusion_counts,
    expected_calibration_error,
    macro_f1,
)
from lightning_tl.reports.predictions import Predictions


def evaluation_results(
    predictions: Predictions, class_names: Sequence[str], blocks: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Accuracy with its interval, macro-F1, calibration and scores per class, ready for JSON.

    For several labels a sample, the accuracy is the mean share of right labels, and there is neither a calibration
    error nor a confusion matrix. For a task without classes only the number of samples is given.

    Args:
        predictions: on the test set.
        class_names: in the order of the model's outputs.
        blocks: [n] block of each sample, for the interval; None when samples are independent.
    """
    results: dict[str, Any] = {"samples": len(predictions.index), "task": predictions.task}
    if predictions.task == "other":
        return results
    correct = predictions.correct()
    results["accuracy"] = float(correct.mean())
    results["interval"] = None
    if len(np.unique(blocks) if blocks is not None else correct) > 1:
        interval = bootstrap_mean(correct, blocks)
        results["interval"] = {**asdict(interval), "over": "samples" if blocks is None else "blocks"}
    scores = class_scores(predictions.target, predictions.predicted, class_names)
    results["macro_f1"] = macro_f1(scores)
    results["classes"] = [asdict(score) for score in scores]
    if predictions.task == "one label":
        results["calibration_error"] = expected_calibration_error(
            predictions.probabilities.clip(0, 1), predictions.target
        )
        results["confusion"] = confusion_counts(predictions.target, predictions.predicted, len(class_names)).tolist()
    return results
