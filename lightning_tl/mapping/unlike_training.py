"""Whether a scene's values lie where those of the training images lay."""

from __future__ import annotations

import numpy as np

from lightning_tl.earth.unlike_values import unlike_values
from lightning_tl.mapping.pixel_mask import PixelMask
from lightning_tl.mapping.plans import Window
from lightning_tl.mapping.scene_source import BandScene, SceneSource

_WINDOWS, _SIDE = 5, 64  # along each side of the scene so many windows of so many pixels are looked at


def unlike_training(source: SceneSource, mask: PixelMask | None) -> list[str]:
    """What to tell where most values of a channel lie outside of those of the training images.

    Args:
        source: the scene; one of pictures says nothing.
        mask: of pixels that are not mapped.
    """
    if not isinstance(source, BandScene):
        return []
    pixels = []
    for window in _looked(source.raster.height, source.raster.width):
        try:
            chip = source.reading.read(source.raster, window)
            valid = chip.valid if mask is None else chip.valid & ~mask.masked(window)
        except OSError:  # damaged there, which is told where the map comes to it
            continue
        pixels.append(chip.pixels[valid])
    if not pixels:
        return []
    return unlike_values(np.concatenate(pixels), source.reading, "the scene")


def _looked(height: int, width: int) -> list[Window]:
    high, wide = min(_SIDE, height), min(_SIDE, width)
    rows = sorted({int(row) for row in np.linspace(0, height - high, _WINDOWS)})
    columns = sorted({int(column) for column in np.linspace(0, width - wide, _WINDOWS)})
    return [(row, column, high, wide) for row in rows for column in columns]
