"""`CountedWords`: `Tfidf` by operators that a graph has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones import Tfidf


class CountedWords(nn.Module):
    """The features of a `Tfidf`, whose own way to count (`aten.unique`) no graph holds: counts are added up in place.

    Args:
        backbone: with its document frequencies.
    """

    def __init__(self, backbone: Tfidf) -> None:
        super().__init__()
        self.inverse_frequency = nn.Buffer(backbone.inverse_frequency.float())
        self.places_of_pairs = backbone.places_of_pairs

    def forward(self, inputs: Any) -> Tensor:
        """Tokenised texts to features [batch, feature_dim]."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        places = torch.cat([ids, self.places_of_pairs(ids)], 1)  # [batch, 2 tokens - 1]
        there = torch.cat([mask, mask[:, :-1] * mask[:, 1:]], 1).float()
        counts = torch.zeros(ids.shape[0], len(self.inverse_frequency)).scatter_add(1, places, there)
        features = (1 + counts.clamp(min=1).log()) * self.inverse_frequency
        return F.normalize(torch.where(counts > 0, features, 0.0), dim=1)
