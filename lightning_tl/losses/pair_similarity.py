"""Pairs of one label are to point the same way, pairs of different labels to be at right angles."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PairSimilarity(nn.Module):
    """Squared error of the cosine similarity of every pair in a batch: 1 for one label, 0 for different ones.

    The loss of SetFit (Tunstall et al., 2022, section 3.1) and of sentence-transformers (`CosineSimilarityLoss`). There
    both kinds of pairs are drawn equally often; here all pairs of a batch are taken and each kind counts half.
    """

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Mean over pairs; of a kind that the batch has not, the other alone, and 0 for a single sample.

        Args:
            features: [batch, dim], any norm.
            target: [batch] class numbers.
        """
        if features.ndim != 2 or target.shape != features.shape[:1]:
            raise ValueError(
                f"expected features [batch, dim] and target [batch], got {tuple(features.shape)} and "
                f"{tuple(target.shape)}"
            )
        with torch.autocast(features.device.type, enabled=False):
            unit = F.normalize(features.float(), dim=1)
            similarity = unit @ unit.T
        same = target[:, None] == target[None, :]
        pairs = torch.ones_like(same).triu(1)
        means = [
            (similarity[kind] - wanted).square().mean()
            for kind, wanted in ((pairs & same, 1.0), (pairs & ~same, 0.0))
            if kind.any()
        ]
        return torch.stack(means).mean() if means else features.sum() * 0
