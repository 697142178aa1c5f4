"""`PixelDecoder`: how feature maps become a class for each pixel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class PixelDecoder(ABC):
    """A plan of a head over feature maps; base of the decoders."""

    @abstractmethod
    def head(self, dims: Sequence[int], strides: Sequence[float], classes: int, dropout: float) -> nn.Module:
        """A module called with `FeatureMaps`, which gives logits [batch, classes, height, width] of their size.

        Args:
            dims: of the maps, fine to coarse.
            strides: pixels of an image for each place of a map, likewise.
            classes: how many logits a pixel gets.
            dropout: probability of dropping a feature map, in [0, 1).
        """


def enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps [batch, dim, height, width] of another size, bilinear."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
