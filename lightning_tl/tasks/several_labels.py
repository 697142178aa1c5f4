"""`SeveralLabels`: any number of labels may hold of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MultilabelF1Score

from lightning_tl.metrics import class_scores, label_f1, labels_calibration_error, macro_f1, mean_interval
from lightning_tl.tasks.task import NO_SMOOTHING, Task

THRESHOLD = 0.5  # of a label's probability


class SeveralLabels(Task):
    """Targets are 0 and 1 [batch, labels]; the outputs are logits, the predictions one sigmoid for each label."""

    name: ClassVar[str] = "several labels"
    hugging_face: ClassVar[str] = "multi_label_classification"

    def loss(self, weights: Tensor | None = None, label_smoothing: float = 0.0) -> nn.Module:
        """Binary cross-entropy, mean over samples and labels; `weights` are of a label where it holds."""
        if label_smoothing:
            raise ValueError(NO_SMOOTHING.format(label_smoothing))
        return nn.BCEWithLogitsLoss(pos_weight=weights)

    def metrics(self, outputs: int) -> dict[str, Metric]:
        """F1 of probabilities, mean over labels and over all answers."""
        # Its own check would refuse targets that are not integers, and a single label.
        return {
            f"{mean}_f1": MultilabelF1Score(outputs, threshold=THRESHOLD, average=mean, validate_args=False)
            for mean in ("macro", "micro")
        }

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities [batch, labels], each label's for itself."""
        return outputs.sigmoid()

    def aim(self, target: Tensor) -> Tensor:
        """As floating point."""
        return target.float() if not target.is_floating_point() else target

    def balanced(self, positives: NDArray[np.int64], samples: int) -> NDArray[np.float64]:
        """Samples without a label over those with it, so that both sides count alike."""
        weights: NDArray[np.float64] = np.maximum(samples - positives, 1) / positives.astype(np.float64)
        return weights

    def results(
        self, given: NDArray[Any], target: NDArray[Any], names: Sequence[str], blocks: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """Share of right answers, F1 over labels, over answers and of each label, with intervals; calibration."""
        truth, predicted = target.astype(np.int64), (given >= THRESHOLD).astype(np.int64)
        correct = (predicted == truth).mean(1)
        scores = class_scores(truth, predicted, names)
        macro, micro, each = label_f1(truth, predicted, blocks)
        intervals = each if each is not None else [None] * len(scores)
        return {
            "accuracy": float(correct.mean()),
            "interval": mean_interval(correct, blocks),
            "macro_f1": macro_f1(scores),
            "macro_f1_interval": macro,
            "micro_f1": _micro(truth, predicted),
            "micro_f1_interval": micro,
            "calibration_error": labels_calibration_error(given.clip(0, 1), truth),
            "classes": [{**asdict(s), "f1_interval": i} for s, i in zip(scores, intervals, strict=True)],
        }


def _micro(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    both = int(truth.sum() + predicted.sum())
    return 2 * int((truth & predicted).sum()) / both if both else 0.0
