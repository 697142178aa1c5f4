"""`PixelLabels`: every pixel is of one of several classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from lightning_tl.contracts.batches import IGNORED
from lightning_tl.losses import PixelCrossEntropy
from lightning_tl.metrics import confusion_of_pixels, pixel_scores
from lightning_tl.tasks.task import Task


class PixelLabels(Task):
    """Targets are class numbers [batch, height, width], `IGNORED` where nothing is known; outputs are logits of each.

    Ignored pixels count in no loss, no metric and no result.
    """

    name: ClassVar[str] = "pixel labels"
    fewest: ClassVar[int] = 2
    hugging_face: ClassVar[str] = "semantic_segmentation"
    dense: ClassVar[bool] = True

    def __init__(self) -> None:  # without arguments, so that a checkpoint can say how to build it
        super().__init__()

    def loss(self, weights: Tensor | None = None, label_smoothing: float = 0.0) -> nn.Module:
        """Cross-entropy, mean over the pixels of a batch."""
        return PixelCrossEntropy(weights, label_smoothing)

    def metrics(self, outputs: int) -> dict[str, Metric]:
        """Mean intersection over union of the classes that occur, and the share of right pixels."""
        return {
            "miou": MulticlassJaccardIndex(outputs, average="macro", ignore_index=IGNORED, validate_args=False),
            "pixel_accuracy": MulticlassAccuracy(outputs, average="micro", ignore_index=IGNORED, validate_args=False),
        }

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities [batch, classes, height, width] that sum to 1 over the classes."""
        return outputs.softmax(1)

    def scored(self, outputs: Tensor) -> Tensor:
        """The logits: a softmax would change no rank."""
        return outputs

    def kept(self, given: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Counts of pixels of each image [batch, true, predicted], and its probabilities, of which a mask is made."""
        return {"confusion": confusion_of_pixels(given.argmax(1), target, given.shape[1]), "probabilities": given}

    def balanced(self, positives: NDArray[np.int64], samples: int) -> NDArray[np.float64]:
        """Inverse frequency of the pixels: n / (classes · pixels of the class)."""
        weights: NDArray[np.float64] = samples / (len(positives) * positives.astype(np.float64))
        return weights

    def results(
        self, given: NDArray[Any], target: NDArray[Any], names: Sequence[str], blocks: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """IoU of each class, their mean and the share of right pixels, with intervals over blocks or images; confusion.

        Args:
            given: [n, classes, height, width], of `predictions`.
            target: [n, height, width].
            names: of the classes.
            blocks: [n] block of each image; None when images are independent.
        """
        counts = confusion_of_pixels(torch.from_numpy(given.argmax(1)), torch.from_numpy(target), len(names))
        return pixel_scores(counts.numpy(), names, blocks)
