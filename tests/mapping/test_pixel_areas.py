"""Areas on the ellipsoid, against geodesic polygons of single pixels."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Geod, Transformer

from lightning_tl.earth.layers import Grid
from lightning_tl.mapping.pixel_areas import PixelAreas

GEOD = Geod(ellps="WGS84")


def _slow_km2(grid: Grid, row: int, column: int) -> float:
    """A pixel's outline, with 20 points along each side, as a geodesic polygon."""
    change = Transformer.from_crs(CRS.from_wkt(grid.crs.to_wkt()), 4326, always_xy=True).transform
    steps = np.linspace(0, 1, 20, endpoint=False)
    ring = [
        *((column + s, row) for s in steps),
        *((column + 1, row + s) for s in steps),
        *((column + 1 - s, row + 1) for s in steps),
        *((column, row + 1 - s) for s in steps),
    ]
    t = grid.transform
    x, y = zip(*((t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f) for c, r in ring), strict=True)
    return abs(GEOD.polygon_area_perimeter(*change(x, y))[0]) / 1e6


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (4326, (0.1, 0, 10, 0, -0.1, 70)),
        (4326, (0.05, 0, -60, 0, -0.05, 4)),
        (4326, (0.01, 0.002, 10, 0.002, -0.01, 50)),
        (32633, (1000, 0, 500_000, 0, -1000, 6_600_000)),
        (32633, (800, 100, 300_000, 100, -800, 100_000)),
        (3857, (1000, 0, 1_000_000, 0, -1000, 8_400_000)),
        (6933, (1000, 0, 1_000_000, 0, -1000, 5_000_000)),
        (2225, (3000, 0, 6_000_000, 0, -3000, 2_000_000)),  # in feet
    ],
)
def test_pixels_cover_what_geodesic_polygons_do(crs: int, transform: tuple[float, ...]) -> None:
    grid = Grid(150, 140, rasterio.crs.CRS.from_epsg(crs), rasterio.Affine(*transform))
    areas = PixelAreas(grid)
    for row, column in ((3, 5), (149, 2), (70, 139)):
        alone = np.full((1, 1), 1, np.uint8)
        got = areas.of_classes((row, column, 1, 1), alone, 2)
        assert got[0] == 0
        assert got[1] == pytest.approx(_slow_km2(grid, row, column), rel=2e-4)
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, (150, 140)).astype(np.uint8)
    classes[classes == 3] = 255
    whole = areas.of_classes((0, 0, 150, 140), classes, 3)
    want = np.zeros(3)
    for row in range(0, 150, 10):
        for column in range(0, 140, 10):
            part = classes[row : row + 10, column : column + 10]
            want += np.bincount(part[part < 3], minlength=3) * _slow_km2(grid, row + 5, column + 5)
    np.testing.assert_allclose(whole, want, rtol=5e-3)


def test_all_pixels_of_the_earth_are_the_earth() -> None:
    grid = Grid(180, 360, rasterio.crs.CRS.from_epsg(4326), rasterio.Affine(1, 0, -180, 0, -1, 90))
    whole = PixelAreas(grid).of_classes((0, 0, 180, 360), np.zeros((180, 360), np.uint8), 1)
    assert whole[0] == pytest.approx(510_065_621.7, rel=1e-7)  # WGS 84
