"""Bands of different pixel sizes on one grid: that of the finest, to which the others are resampled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_tl.earth.grid import Grid
from lightning_tl.earth.layers import Layer
from lightning_tl.inputs.tiff_files import UnfitImageError


def one_grid(path: Path, layers: Sequence[Layer]) -> Grid:
    """That of the finest band.

    Raises:
        UnfitImageError: the files do not lie upon each other.
    """
    if not layers:
        raise UnfitImageError(f"{path.name} has no band with a name")
    if all(layer.grid is layers[0].grid for layer in layers):
        return layers[0].grid
    finest = min((layer.grid for layer in layers), key=lambda grid: grid.pixel if grid.georeferenced else -grid.width)
    for layer in layers:
        grid = layer.grid
        if grid == finest:
            continue
        sizes = f"{layer.file.name} has {grid.height} × {grid.width} pixels, others {finest.height} × {finest.width}"
        if not (grid.georeferenced and finest.georeferenced):
            raise UnfitImageError(f"{sizes}, and without georeference it is not known how they lie upon each other")
        if grid.crs != finest.crs:
            raise UnfitImageError(f"bands of {path.name} are in {grid.crs} and in {finest.crs}: reproject them to one")
        (left, low, right, high), wanted = grid.bounds, finest.bounds
        short = max(left - wanted[0], low - wanted[1], wanted[2] - right, wanted[3] - high)
        if short > grid.pixel:
            raise UnfitImageError(
                f"{layer.file.name} covers too little: the finest band of {path.name} reaches {short:g} further; are "
                "these bands of one place?"
            )
    return finest


def resampled(source: Any, layer: Layer, grid: Grid) -> tuple[Any, Any]:
    """A coarser file as if it lay on the grid, and another whose mask says which pixels it covers.

    Windows are cut from one picture, whatever their borders. The mask leaves out what the file's own mask leaves out,
    its no-data where the file marks it, and what lies outside the file, as up to one of its pixels may.

    Args:
        source: the opened file.
        layer: one of its bands.
        grid: to lie on.
    """
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    laid = {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
    shared = {} if layer.shared_no_data is None else {"src_nodata": layer.shared_no_data}
    marked = shared if layer.no_data is None else {"src_nodata": layer.no_data}
    smooth = WarpedVRT(source, **laid, **marked, resampling=Resampling.bilinear, add_alpha=True)
    if marked != shared or not shared:
        return smooth, smooth
    # 0 of a single band may be a value, so that it is not left out here, but where all bands have it
    return smooth, WarpedVRT(source, **laid, resampling=Resampling.nearest, add_alpha=True)
