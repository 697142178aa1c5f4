"""`LinearDecoder`: the class of a place is a linear function of its features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_tl.backbones.dense.pixel_decoder import PixelDecoder, enlarged
from lightning_tl.contracts.feature_maps import FeatureMaps


class LinearPixelHead(nn.Module):
    """Logits of each map's places, enlarged to the finest map's, added, and enlarged to the images' size.

    That is a linear layer over the maps side by side.

    Args:
        dims: of the maps, fine to coarse.
        classes: how many logits a pixel gets.
        dropout: probability of dropping a feature map.
    """

    def __init__(self, dims: Sequence[int], classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dims, self.classes, self.dropout = tuple(dims), classes, dropout
        self.drop = nn.Dropout2d(dropout)
        self.layers = nn.ModuleList(nn.Conv2d(dim, classes, 1, bias=k == 0) for k, dim in enumerate(dims))
        for layer in self.layers:
            nn.init.trunc_normal_(layer.weight, std=0.02)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[0].bias)  # type: ignore[arg-type]

    def forward(self, features: FeatureMaps) -> Tensor:
        """To logits [batch, classes, height, width]."""
        parts = [layer(self.drop(found)) for layer, found in zip(self.layers, features.maps, strict=True)]
        finest = parts[0].shape[-2:]
        return enlarged(torch.stack([enlarged(part, finest) for part in parts]).sum(0), features.size)


class LinearDecoder(PixelDecoder):
    """A linear layer on the maps: few weights, and shapes no finer than the finest map's places."""

    def head(self, dims: Sequence[int], strides: Sequence[float], classes: int, dropout: float) -> nn.Module:
        """See `PixelDecoder`."""
        return LinearPixelHead(dims, classes, dropout)
