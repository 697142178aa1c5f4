"""`PyramidDecoder`: coarse maps tell fine ones what they see."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_tl.backbones.dense.pixel_decoder import PixelDecoder, enlarged
from lightning_tl.contracts.feature_maps import FeatureMaps

_GROUPS = 8  # of GroupNorm, whose statistics are each sample's own: the same on one device and on many


class PyramidHead(nn.Module):
    """The top-down way of a feature pyramid network (Lin et al., 2017, figure 3), read at its finest map.

    Each map goes through a 1 x 1 convolution, the coarser one's result is enlarged and added, and a 3 x 3 convolution
    smooths the sum. Where the finest map is coarser than wanted, such as the patches of a transformer, more steps of
    enlarging by two and smoothing follow.

    Args:
        dims: of the maps, fine to coarse.
        steps: how often the finest map is enlarged by two.
        classes: how many logits a pixel gets.
        width: of the pyramid; a multiple of 8.
        dropout: probability of dropping one of its maps before the last layer.
    """

    def __init__(self, dims: Sequence[int], steps: int, classes: int, width: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.dims, self.steps, self.classes, self.width, self.dropout = tuple(dims), steps, classes, width, dropout
        self.lateral = nn.ModuleList(nn.Conv2d(dim, width, 1) for dim in dims)
        self.smooth = nn.ModuleList(_smoothing(width) for _ in dims)
        self.finer = nn.ModuleList(_smoothing(width) for _ in range(steps))
        self.drop = nn.Dropout2d(dropout)
        self.last = nn.Conv2d(width, classes, 1)
        nn.init.trunc_normal_(self.last.weight, std=0.02)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, features: FeatureMaps) -> Tensor:
        """To logits [batch, classes, height, width]."""
        hidden: Tensor | None = None
        layers = zip(self.lateral, self.smooth, features.maps, strict=True)
        for lateral, smooth, found in reversed(list(layers)):
            own = lateral(found)
            hidden = smooth(own if hidden is None else own + enlarged(hidden, own.shape[-2:]))
        assert hidden is not None, "there is at least one map"
        for smooth in self.finer:
            hidden = smooth(enlarged(hidden, [2 * side for side in hidden.shape[-2:]]))
        return enlarged(self.last(self.drop(hidden)), features.size)


class PyramidDecoder(PixelDecoder):
    """A small feature pyramid.

    Args:
        width: channels of its maps; a multiple of 8.
        stride: pixels of an image for each place of the finest map that classes are told of; at least 1.
    """

    def __init__(self, width: int = 128, stride: int = 4) -> None:
        if width < _GROUPS or width % _GROUPS:
            raise ValueError(f"width must be a multiple of {_GROUPS} and at least {_GROUPS}, got {width}")
        if stride < 1:
            raise ValueError(f"stride must be at least 1 pixel, got {stride}")
        self.width, self.stride = width, stride

    def head(self, dims: Sequence[int], strides: Sequence[float], classes: int, dropout: float) -> nn.Module:
        """See `PixelDecoder`."""
        steps, at = 0, strides[0]
        while at >= 2 * self.stride:
            steps, at = steps + 1, at / 2
        return PyramidHead(dims, steps, classes, self.width, dropout)


def _smoothing(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, width), nn.GELU())
