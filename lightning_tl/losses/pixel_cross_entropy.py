"""`PixelCrossEntropy`: cross-entropy of the pixels whose class is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.contracts.batches import IGNORED


class PixelCrossEntropy(nn.Module):
    """Mean over the known pixels of a batch, with `weight` the weighted mean; 0 where no pixel is known.

    Args:
        weight: [classes], factors of the classes.
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1).
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.register_buffer("weight", weight)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits [batch, classes, height, width] and class numbers [batch, height, width] to a scalar."""
        logits = logits.float()
        total = F.cross_entropy(
            logits, target, self.weight, ignore_index=IGNORED, reduction="sum", label_smoothing=self.label_smoothing
        )
        known = target[target != IGNORED]
        count = self.weight[known].sum() if self.weight is not None else torch.tensor(len(known), device=logits.device)
        return total / count.to(total.dtype).clamp_min(1e-6)  # torch's own mean is no number where none is known
