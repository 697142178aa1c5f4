"""`ProjectionHead`: features to the outputs in which student and teacher are compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """DINO's head (Caron et al. 2021, section 3.1 and appendix C): three layers, a unit sphere, and prototypes on it.

    The last layer is weight-normalised without a gain that is trained, so an output is the cosine of the bottleneck
    with a prototype.

    Args:
        features: length of the backbone's features.
        hidden: width of the two hidden layers.
        bottleneck: dimensions of the sphere.
        prototypes: how many outputs.
    """

    def __init__(self, features: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("bottleneck", bottleneck)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if prototypes < 2:
            raise ValueError(f"prototypes must be at least 2, got {prototypes}")
        self.layers = nn.Sequential(
            nn.Linear(features, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        nn.init.kaiming_uniform_(self.prototypes, a=5**0.5)  # as a linear layer's
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features [batch, features] to outputs [batch, prototypes], in -1 to 1."""
        places = self.layers(features)
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 would round cosines to 1/256
            return F.linear(F.normalize(places.float(), dim=-1), F.normalize(self.prototypes, dim=-1))
