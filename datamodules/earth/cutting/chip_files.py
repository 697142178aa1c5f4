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
    source = scene.file
    from rasterio.enums import MaskFlags
    from rasterio.io import MemoryFile

    profile = {**_LOSSLESS, "height": window[2], "width": window[3], "count": source.count, "dtype": stored.dtype}
    with MemoryFile() as memory:
        with (
            rasterio_module().Env(GDAL_TIFF_INTERNAL_MASK=True),
            memory.open(**profile, crs=source.crs, transform=scene.transform(window), nodata=source.nodata) as chip,
        ):
            chip.colorinterp = source.colorinterp
            chip.descriptions = source.descriptions
            chip.scales, chip.offsets = source.scales, source.offsets
            chip.units = source.units
            for number in range(1, source.count + 1):
                chip.update_tags(number, **source.tags(number))
            tags = {name: value for name, value in source.tags().items() if name not in ("AREA_OR_POINT",)}
            chip.update_tags(**tags, SCENE=scene.path.name, SCENE_ROW=window[0], SCENE_COLUMN=window[1])
            chip.write(stored)
            if MaskFlags.per_dataset in source.mask_flag_enums[0] and MaskFlags.alpha not in source.mask_flag_enums[0]:
                place = rasterio_module().windows.Window(window[1], window[0], window[3], window[2])
                chip.write_mask(source.dataset_mask(window=place))
        write_whole(path, memory.read())


def write_mask(path: Path, scene: Scene, window: Window, mask: NDArray[np.uint8]) -> None:
    """Class numbers of a window, 255 as no-data."""
    from rasterio.io import MemoryFile

    profile = {**_LOSSLESS, "height": window[2], "width": window[3], "count": 1, "dtype": "uint8", "nodata": NONE}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=scene.file.crs, transform=scene.transform(window)) as chip:
            chip.descriptions = ("class",)
            chip.write(mask, 1)
        write_whole(path, memory.read())
