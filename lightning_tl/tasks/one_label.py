"""`OneLabel`: each sample is of one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from lightning_tl.metrics import (
    class_scores,
    confusion_counts,
    expected_calibration_error,
    macro_f1,
    mean_interval,
)
from lightning_tl.tasks.task import Task


class OneLabel(Task):
    """Targets are class numbers [batch]; the outputs are logits, the predictions their softmax."""

    name: ClassVar[str] = "one label"
    fewest: ClassVar[int] = 2
    hugging_face: ClassVar[str] = "single_label_classification"

    def loss(self, weights: Tensor | None = None, label_smoothing: float = 0.0) -> nn.Module:
        """Cross-entropy."""
        return nn.CrossEntropyLoss(weights, label_smoothing=label_smoothing)

    def metrics(self, outputs: int) -> dict[str, Metric]:
        """Accuracy and macro-F1, of logits or probabilities."""
        return {
            "accuracy": MulticlassAccuracy(outputs, average="micro"),
            "macro_f1": MulticlassF1Score(outputs, average="macro"),
        }

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities [batch, classes] that sum to 1."""
        return outputs.softmax(-1)

    def scored(self, outputs: Tensor) -> Tensor:
        """The logits: a softmax would change no rank."""
        return outputs

    def balanced(self, positives: NDArray[np.int64], samples: int) -> NDArray[np.float64]:
        """Inverse frequency, 1 where all classes are of one size: n / (classes · samples of the class)."""
        weights: NDArray[np.float64] = samples / (len(positives) * positives.astype(np.float64))
        return weights

    def results(
        self, given: NDArray[Any], target: NDArray[Any], names: Sequence[str], blocks: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """Accuracy with its interval, macro-F1, scores of each class, calibration and confusion."""
        predicted = given.argmax(1)
        correct = (predicted == target).astype(np.float64)
        scores = class_scores(target, predicted, names)
        return {
            "accuracy": float(correct.mean()),
            "interval": mean_interval(correct, blocks),
            "macro_f1": macro_f1(scores),
            "classes": [asdict(score) for score in scores],
            "calibration_error": expected_calibration_error(given.clip(0, 1), target),
            "confusion": confusion_counts(target, predicted, len(names)).tolist(),
        }
