"""Small georeferenced scenes and labels over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEST, NORTH, PIXEL = 500_000.0, 5_500_000.0, 10.0
NAMES = ("B02", "B03", "B04", "B08")


def write_raster(path: Path, values: NDArray[Any], crs: str | None = "EPSG:32633", **profile: Any) -> Path:
    """A GeoTIFF of [bands, height, width] whose pixels are 10 m wide."""
    import rasterio

    names = profile.pop("descriptions", NAMES[: len(values)])
    transform = profile.pop("transform", rasterio.Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH))
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    placed = {"crs": crs, "transform": transform} if crs else {}
    with rasterio.open(path, "w", driver="GTiff", **shape, **placed, **profile) as file:
        file.write(values)
        if names:
            file.descriptions = names
    return path


def scene_values(height: int = 200, width: int = 300, seed: int = 0) -> NDArray[np.uint16]:
    """Four bands in reflectance × 10,000: water in the west, forest in the middle, bare soil in the east."""
    generator = np.random.default_rng(seed)
    kinds = np.minimum(np.arange(width) * 3 // width, 2)
    means = np.array([[500, 400, 300, 200], [400, 600, 300, 3000], [1200, 1500, 1900, 2500]])[kinds]
    noise = generator.normal(0, 60, (4, height, width))
    return np.clip(means.T[:, None, :] + noise, 1, 10_000).astype(np.uint16)


def box_polygon(column: float, row: float, width: float, height: float) -> list[list[list[float]]]:
    """Coordinates of a rectangle of pixels, in the scene's metres."""
    west, north = WEST + column * PIXEL, NORTH - row * PIXEL
    east, south = west + width * PIXEL, north - height * PIXEL
    return [[[west, north], [east, north], [east, south], [west, south], [west, north]]]


def write_polygons(path: Path, shapes: list[Any], properties: list[dict[str, Any]], crs: str = "EPSG:32633") -> Path:
    """A GeoJSON file; shapes are coordinates of polygons, or whole geometries."""
    features = [
        {
            "type": "Feature",
            "properties": told,
            "geometry": shape
            if isinstance(shape, dict) or shape is None
            else {"type": "Polygon", "coordinates": shape},
        }
        for shape, told in zip(shapes, properties, strict=True)
    ]
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs.removeprefix('EPSG:')}"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": features}), encoding="utf-8")
    return path
