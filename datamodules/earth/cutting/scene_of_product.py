"""`ProductScene`: a scene of one file for each band, on the grid of the finest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.cutting.scene import Scene, StoredBands, Window
from datamodules.earth.cutting.scene_of_file import FileScene
from lightning_tl.earth.layers import Layer, opened
from lightning_tl.earth.products import product_scalings
from lightning_tl.earth.raster import Raster, open_raster
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.earth.scaling import ScalingOptions
from lightning_tl.earth.sensors import SENTINEL_2
from lightning_tl.inputs.tiff_files import UnfitImageError

_STORED = ReadingOptions(scaling=ScalingOptions(scale=1.0))  # what values mean is said by chips, and asked in training


def open_scene(path: Path) -> Scene:
    """A raster file, or the folder of a product.

    Args:
        path: of it.

    Raises:
        ValueError: no raster of one page, no bands in the folder, or no georeference.
        OSError: it cannot be opened.
    """
    return ProductScene(path) if path.is_dir() else FileScene(path)


class ProductScene(Scene):
    """The folder of a product, such as Sentinel-2's `.SAFE` or Landsat's; coarser bands are resampled, bilinearly.

    Chips get the bands' names as descriptions, and scale and offset from tags or the product's metadata.

    Args:
        path: of the folder.

    Raises:
        ValueError: no file is called after a band, files that do not lie upon each other, or no georeference.
        OSError: a file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        from rasterio.enums import ColorInterp

        self.raster: Raster = open_raster(path, _STORED)
        layers = self.raster.layers
        try:
            meanings = [_meaning(layer, path, self.raster) for layer in layers]
        except (OSError, UnfitImageError):
            self.raster.close()
            raise
        marked = {layer.no_data for layer in layers}
        bands = StoredBands(
            dtype=np.result_type(*(layer.dtype for layer in layers)).name,
            no_data=marked.pop() if len(marked) == 1 else None,
            descriptions=self.raster.band_names,
            scales=tuple(scale for scale, _ in meanings),
            offsets=tuple(offset for _, offset in meanings),
            units=(None,) * len(layers),
            colours=(ColorInterp.gray,) * len(layers),
            tags=tuple({} for _ in layers),
            of_file={"PRODUCT": path.name},
            masked=True,
        )
        super().__init__(path, self.raster.grid, bands, tuple(dict.fromkeys(layer.file for layer in layers)))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """See `Scene`; there are data where every band has some."""
        stored, there = self.raster.stored(window)
        if self.bands.no_data is not None:
            stored = np.where(there, stored, self.bands.no_data)
        return stored.astype(self.bands.dtype), self._all(stored, there)

    def mask(self, window: Window) -> NDArray[np.bool_] | None:
        """See `Scene`."""
        return np.asarray(self.raster.stored(window)[1].all(0)) if self.bands.no_data is None else None

    def _all(self, stored: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[np.bool_]:
        shared = [layer.shared_no_data for layer in self.raster.layers]
        if any(value is None for value in shared):
            return np.asarray(there.all(0))
        nothing = (stored == np.array(shared)[:, None, None]).all(0)  # of sensors that write 0 into all bands
        return np.asarray(there.all(0) & ~nothing)

    def close(self) -> None:
        """See `Scene`."""
        self.raster.close()


def _meaning(layer: Layer, product: Path, raster: Raster) -> tuple[float, float]:
    """Scale and offset of a band by its tags or the product's metadata; 1 and 0 where neither says."""
    with opened(layer.file) as file:
        tags = float(file.scales[layer.number - 1]), float(file.offsets[layer.number - 1])
    told = product_scalings(product) if raster.sensor is SENTINEL_2 and tags == (1.0, 0.0) else None
    return (told or {}).get(layer.band.name, tags)
