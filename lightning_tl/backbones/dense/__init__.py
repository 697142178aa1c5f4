"""Backbones that give features of each place of an image, and the decoders that read them.

It trains nothing and knows no labels.
"""

from lightning_tl.backbones.dense.linear_decoder import LinearDecoder
from lightning_tl.backbones.dense.pixel_decoder import PixelDecoder
from lightning_tl.backbones.dense.pyramid_decoder import PyramidDecoder

__all__ = ["LinearDecoder", "PixelDecoder", "PyramidDecoder"]
