"""`PixelMask`: clouds and whatever else of a scene is to stay without a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth import Raster
from lightning_tl.earth.layers import opened
from lightning_tl.earth.needed_libraries import rasterio_module
from lightning_tl.mapping.plans import Window

_NEARLY = 0.99  # of the scene, of which a mask on another grid may leave out the edge


class PixelMask:
    """A band of whole numbers, some of which mean that a pixel is not to be mapped.

    A mask on another grid is laid over the scene, each pixel by its nearest; what it does not cover is not masked.

    Args:
        raster: the scene.
        path: file of the mask.
        band: its number there, from 1.
        values: that are masked; None for all but 0 and no-data.

    Raises:
        ValueError: there is no such band, or the mask has no place on the scene.
        OSError: it cannot be opened.
    """

    def __init__(self, raster: Raster, path: Path, band: int = 1, values: Sequence[int] | None = None) -> None:
        self.path, self.band, self.values = path, band, values
        self.file = opened(path)
        if not 1 <= band <= self.file.count:
            raise ValueError(f"{path} has {self.file.count} bands, and the mask is to be band {band}")
        if not np.issubdtype(np.dtype(self.file.dtypes[band - 1]), np.integer):
            raise ValueError(f"a mask holds whole numbers, and {path} holds {self.file.dtypes[band - 1]}")
        self.notes: list[str] = []
        self.source = self._on_the_grid(raster)

    def _on_the_grid(self, raster: Raster) -> Any:
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT

        own, shape = self.file, (raster.height, raster.width)
        same = own.crs == raster.crs and own.transform.almost_equals(raster.transform, 1e-9)
        if own.shape == shape and (same or own.crs is None):
            return own
        if own.crs is None or raster.crs is None:
            raise ValueError(
                f"{self.path} has {own.height} × {own.width} pixels, the scene {raster.height} × {raster.width}, and "
                "without georeference it is not known how they lie upon each other"
            )
        covered = _covered(raster, own)
        if not covered:
            raise ValueError(f"the mask {self.path} does not lie over the scene: is it of another place?")
        if covered < _NEARLY:
            self.notes.append(f"the mask covers {covered:.0%} of the scene; the rest is not masked")
        return WarpedVRT(
            own,
            crs=raster.crs,
            transform=raster.transform,
            width=raster.width,
            height=raster.height,
            resampling=Resampling.nearest,
            add_alpha=own.nodata is None,
        )

    def masked(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window [height, width] are not to be mapped.

        Raises:
            OSError: the file is damaged there.
        """
        rasterio = rasterio_module()
        place = rasterio.windows.Window(window[1], window[0], window[3], window[2])
        try:
            values = self.source.read(self.band, window=place)
            there = self.source.read_masks(self.band, window=place) > 0
        except rasterio.errors.RasterioError as error:
            raise OSError(f"{self.path} cannot be read: {(str(error).splitlines() or [''])[0]}") from None
        if self.values is None:
            return np.asarray((values != 0) & there)
        return np.asarray(np.isin(values, self.values) & (there | (values != 0)))


def _covered(raster: Raster, mask: Any) -> float:
    """Which share of the box around a scene the box around a mask covers."""
    from rasterio.warp import transform_bounds

    west, south, east, north = raster.grid.bounds
    try:
        box = transform_bounds(mask.crs, raster.crs, *mask.bounds)
    except rasterio_module().errors.RasterioError:  # it cannot be brought to the scene's projection
        return 0.0
    left, low, right, high = min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])
    across = max(0.0, min(east, right) - max(west, left))
    share = across * max(0.0, min(north, high) - max(south, low)) / ((east - west) * (north - south))
    return float(share)
