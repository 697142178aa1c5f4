"""How far a student's features are from its teacher's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CosineDistance(nn.Module):
    """1 minus the cosine of both vectors: their direction counts, and not their length."""

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Mean over the samples.

        Args:
            found: [batch, dim], of the student.
            wanted: [batch, dim], of the teacher.
        """
        _check(found, wanted)
        with torch.autocast(found.device.type, enabled=False):  # half precision would round small distances to 1/256
            return (1 - F.cosine_similarity(found.float(), wanted.float(), dim=1)).mean()


class WhitenedSmoothL1(nn.Module):
    """Smooth L1 to the teacher's features, each vector brought to mean 0 and deviation 1.

    See Wei et al. 2022 (arXiv 2205.14141, section 3.2): the sizes of features differ between teachers.

    Args:
        beta: below this the square of the difference counts; above 0.
    """

    def __init__(self, beta: float = 2.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        self.beta = beta

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Mean over samples and features.

        Args:
            found: [batch, dim], of the student.
            wanted: [batch, dim], of the teacher, before they are brought to mean 0.
        """
        _check(found, wanted)
        with torch.autocast(found.device.type, enabled=False):
            target = F.layer_norm(wanted.float(), wanted.shape[1:])
            return F.smooth_l1_loss(found.float(), target, beta=self.beta)


def _check(found: Tensor, wanted: Tensor) -> None:
    if found.ndim != 2 or found.shape != wanted.shape:
        raise ValueError(f"both must be [batch, dim], got {tuple(found.shape)} and {tuple(wanted.shape)}")
