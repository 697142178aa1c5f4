"""`PixelMask`: clouds and whatever else of a scene is to stay without a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth import Raster
from lightning_tl.earth.layers import check_kind, opened
from lightning_tl.earth.needed_libraries import rasterio_module
from lightning_tl.mapping.mask_band import CLOUDS_OF_SCL, MaskBand
from lightning_tl.mapping.plans import Window

_LOOK = 256  # pixels along a side of a first look at its values
_NEARLY = 0.99  # of the scene, of which a mask on another grid may leave out the edge


class PixelMask:
    """A band of whole numbers, some of which mean that a pixel is not to be mapped.

    A mask on another grid is laid over the scene, each pixel by its nearest; what it does not cover is not masked.

    Args:
        raster: the scene.
        band: which band of which file.
        values: that are masked; None for the clouds of Sentinel-2's scene classification where the band's name says
            that it is one, else for all but 0 and no-data.

    Raises:
        ValueError: values with fractions, several pages, or no place on the scene.
        OSError: it cannot be opened.
    """

    def __init__(self, raster: Raster, band: MaskBand, values: Sequence[int] | None = None) -> None:
        self.path, self.band, self.called = band.file, band.number, band.called
        self.values = CLOUDS_OF_SCL if values is None and band.scl else values
        self.file = opened(band.file)
        check_kind(self.file, band.file, classes=True)
        if np.dtype(self.file.dtypes[band.number - 1]).kind == "f":
            corner = rasterio_module().windows.Window(0, 0, *(min(_LOOK, side) for side in self.file.shape[::-1]))
            self._check_whole(self._stored(self.file, corner))
        which = "all but 0" if self.values is None else ", ".join(map(str, self.values))
        why = " (clouds, their shadows and defects of Sentinel-2's scene classification)" if values is None else ""
        self.notes = [f"masked by {band.called}: {which}{why if band.scl else ''}"]
        self.source = self._on_the_grid(raster)

    def _check_whole(self, values: NDArray[Any]) -> None:
        if values.dtype.kind == "f" and (broken := values[np.isfinite(values) & (values != np.round(values))]).size:
            raise ValueError(f"a mask holds whole numbers, and {self.called} holds {broken.flat[0]:g}")

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
            add_alpha=own.nodata is None or self.values is not None,
            **({} if self.values is None else {"src_nodata": None}),  # named values, even if they are marked so
        )

    def masked(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window [height, width] are not to be mapped.

        Raises:
            OSError: the file is damaged there.
        """
        place = rasterio_module().windows.Window(window[1], window[0], window[3], window[2])
        values = self._stored(self.source, place)
        there = self._there(values, place)
        self._check_whole(values)
        if self.values is None:
            return np.asarray((values != 0) & there)
        return np.asarray(np.isin(values, self.values) & there)

    def _stored(self, source: Any, place: Any) -> NDArray[Any]:
        try:
            return np.asarray(source.read(self.band, window=place))
        except rasterio_module().errors.RasterioError as error:
            raise OSError(f"{self.path} cannot be read: {(str(error).splitlines() or [''])[0]}") from None

    def _there(self, values: NDArray[Any], place: Any) -> NDArray[np.bool_]:
        """Where the mask says something; of values that were named, no-data is one like any other."""
        if self.values is not None and self.source is self.file:
            return np.ones(values.shape, bool)
        there = self.source.read_masks(self.band, window=place) > 0
        return np.asarray(there & np.isfinite(values) if values.dtype.kind == "f" else there)


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
