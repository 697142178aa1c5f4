"""Writing a chip and its mask as GeoTIFF, each whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.cutting.laid_labels import NONE
from datamodules.earth.cutting.scene import Scene, Window
from lightning_tl.earth.needed_libraries import rasterio_module
from lightning_tl.storage.partial_file import write_whole

_LOSSLESS = {"compress": "deflate", "driver": "GTiff"}


def write_chip(path: Path, scene: Scene, window: Window, stored: NDArray[Any]) -> None:
    """All bands of a window: names, type, no-data, scale, offset, units and opacity as the scene has them.

    Args:
        path: of the chip.
        scene: where it comes from.
        window: where in it.
        stored: [bands, height, width].
    """
    from rasterio.io import MemoryFile

    bands = scene.bands
    profile = {**_LOSSLESS, "height": window[2], "width": window[3], "count": len(stored), "dtype": stored.dtype}
    place = {"crs": scene.grid.crs, "transform": scene.transform(window)}
    with MemoryFile() as memory:
        with (
            rasterio_module().Env(GDAL_TIFF_INTERNAL_MASK=True),
            memory.open(**profile, **place, nodata=bands.no_data) as chip,
        ):
            chip.colorinterp = bands.colours
            chip.descriptions = bands.descriptions
            chip.scales, chip.offsets = bands.scales, bands.offsets
            chip.units = bands.units
            for number, tags in enumerate(bands.tags, 1):
                chip.update_tags(number, **tags)
            chip.update_tags(**bands.of_file, SCENE=scene.path.name, SCENE_ROW=window[0], SCENE_COLUMN=window[1])
            chip.write(stored)
            if (mask := scene.mask(window)) is not None:
                chip.write_mask(mask)
        write_whole(path, memory.read())


def write_mask(path: Path, scene: Scene, window: Window, mask: NDArray[np.uint8]) -> None:
    """Class numbers of a window, 255 as no-data."""
    from rasterio.io import MemoryFile

    profile = {**_LOSSLESS, "height": window[2], "width": window[3], "count": 1, "dtype": "uint8", "nodata": NONE}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=scene.grid.crs, transform=scene.transform(window)) as chip:
            chip.descriptions = ("class",)
            chip.write(mask, 1)
        write_whole(path, memory.read())
