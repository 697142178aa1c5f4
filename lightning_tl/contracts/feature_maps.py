"""`FeatureMaps`: what a backbone gives of each place of an image."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class FeatureMaps(NamedTuple):
    """Maps of features, fine to coarse, and the size of the images that they are of.

    Args:
        maps: each [batch, dim_k, height_k, width_k].
        size: height and width of the images in pixels.
    """

    maps: tuple[Tensor, ...]
    size: tuple[int, int]
