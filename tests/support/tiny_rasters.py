"""Small GeoTIFF files and products, written for a test."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

SENTINEL_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


def write_raster(
    path: Path,
    values: NDArray[Any],
    names: Sequence[str] | None = None,
    corner: tuple[float, float] | None = (300_000.0, 5_000_000.0),
    pixel: float = 10.0,
    crs: str | None = "EPSG:32736",
    scale: float | None = None,
    offset: float | None = None,
    **options: Any,
) -> Path:
    """A raster of [bands, height, width]; without `corner` it has no georeference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {} if corner is None else {"transform": from_origin(*corner, pixel, pixel), "crs": crs}
    bands, height, width = values.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": values.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        opened = rasterio.open(path, "w", **{"driver": "GTiff", **shape, **place, **options})
    with opened as file:
        file.write(values)
        if names is not None:
            file.descriptions = names
        if scale is not None:
            file.scales = (scale,) * bands
        if offset is not None:
            file.offsets = (offset,) * bands
    return path


def reflectances(bands: int, size: int, seed: int = 0, low: int = 200, high: int = 4000) -> NDArray[np.uint16]:
    """[bands, size, size] whole numbers as Sentinel-2 stores them."""
    return np.random.default_rng(seed).integers(low, high, (bands, size, size)).astype(np.uint16)


def write_product(folder: Path, seed: int = 0, size: int = 12, name: str = "S2A_MSIL2A_20170613T101031_7_48") -> Path:
    """A patch as BigEarthNet has them: twelve files, at 10, 20 and 60 m, of `size`, half and a sixth of it pixels."""
    product = folder / name
    metres = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60}
    for k, band in enumerate(each for each in SENTINEL_BANDS if each != "B10"):
        pixel = metres.get(band, 20)
        values = reflectances(1, size * 10 // pixel, seed * 100 + k)
        write_raster(product / f"{name}_{band}.tif", values, pixel=float(pixel))
    return product
