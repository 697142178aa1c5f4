"""`PixelAreas`: how much ground the pixels of a map cover, on the ellipsoid whatever the projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.layers import Grid
from lightning_tl.earth.needed_libraries import pyproj_module
from lightning_tl.mapping.plans import Window

_CELL = 64  # pixels along a side over which the scale of a projection counts as one


class PixelAreas:
    """Ground area of classes in parts of a map.

    In degrees the area between two parallels is exact (Snyder 1987, "Map Projections", eq. 3-12). In a projection it is
    that of a pixel in the middle of cells of 64 pixels, by how longitude and latitude change over it and the
    ellipsoid's radii there: a pixel of Web Mercator at 60 degrees covers a quarter of what its metres say.

    Args:
        grid: of the map, with a georeference.
    """

    def __init__(self, grid: Grid) -> None:
        pyproj = pyproj_module()
        self.grid, self.crs = grid, pyproj.CRS.from_user_input(grid.crs.to_wkt())
        self.geod = self.crs.get_geod()
        self.to_degrees = pyproj.Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True)

    def of_classes(self, block: Window, classes: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
        """Square kilometres [count] of classes 0 to `count` - 1 in a block.

        Args:
            block: its place in the map.
            classes: [height, width] class numbers.
            count: of classes; numbers above are left out.
        """
        t = self.grid.transform
        if self.crs.is_geographic and t.b == t.d == 0:
            pixel = self._of_rows(np.arange(block[0], block[0] + block[2]))
            rows = [np.bincount(row[row < count], minlength=count) for row in classes]
            return np.asarray((np.stack(rows) * pixel[:, None]).sum(0))
        total = np.zeros(count)
        tops, lefts = range(0, block[2], _CELL), range(0, block[3], _CELL)
        middles = [
            (block[0] + top + min(_CELL, block[2] - top) / 2, block[1] + left + min(_CELL, block[3] - left) / 2)
            for top in tops
            for left in lefts
        ]
        pixels = iter(self._at(np.array(middles)))
        for top in tops:
            for left in lefts:
                cell = classes[top : top + _CELL, left : left + _CELL]
                total += np.bincount(cell[cell < count], minlength=count) * next(pixels)
        return total

    def _of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Square kilometres of a pixel in each row [n] of a map in degrees."""
        t, geod = self.grid.transform, self.geod
        eccentricity = np.sqrt(max(geod.es, 1e-16))

        def zone(latitude: NDArray[np.float64]) -> Any:
            sine = np.sin(np.radians(np.clip(latitude, -90, 90)))
            e = eccentricity * sine
            return geod.b**2 / 2 * (sine / (1 - e**2) + np.arctanh(e) / eccentricity)

        top, bottom = t.f + rows * t.e, t.f + (rows + 1) * t.e
        return np.asarray(np.abs(zone(top) - zone(bottom)) * np.radians(abs(t.a)) / 1e6)

    def _at(self, middles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square kilometres of a pixel at places [n, (row, column)]."""
        down, right = self._step(middles, (0.5, 0.0)), self._step(middles, (0.0, 0.5))
        latitude = self._degrees(middles)[1]
        return np.asarray(np.abs(right[0] * down[1] - right[1] * down[0]) * self._square_degree(latitude))

    def _step(self, middles: NDArray[np.float64], half: tuple[float, float]) -> tuple[NDArray[Any], NDArray[Any]]:
        """How longitude and latitude [n] change over a pixel, in degrees."""
        before, after = self._degrees(middles - half), self._degrees(middles + half)
        return (after[0] - before[0] + 180) % 360 - 180, after[1] - before[1]

    def _degrees(self, places: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        t = self.grid.transform
        rows, columns = places.T
        x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
        longitude, latitude = self.to_degrees.transform(x, y)
        return np.asarray(longitude), np.asarray(latitude)

    def _square_degree(self, latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square kilometres of a square degree at latitudes [n]."""
        sine = np.sin(np.radians(latitude))
        around = self.geod.a * np.cos(np.radians(latitude)) / np.sqrt(1 - self.geod.es * sine**2)
        along = self.geod.a * (1 - self.geod.es) / (1 - self.geod.es * sine**2) ** 1.5
        return np.asarray(np.radians(1) ** 2 * around * along / 1e6)
