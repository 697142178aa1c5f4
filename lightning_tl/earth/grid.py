"""`Grid`: where the pixels of a raster lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Window = tuple[int, int, int, int]  # first row, first column, height, width


@dataclass(frozen=True)
class Grid:
    """Where pixels lie.

    Args:
        height: rows.
        width: columns.
        crs: coordinate reference system, of rasterio; None where nobody says.
        transform: from column and row to x and y, an affine map.
    """

    height: int
    width: int
    crs: Any
    transform: Any

    @property
    def pixel(self) -> float:
        """The longer side of a pixel, in units of the coordinate reference system, however the grid is turned."""
        t = self.transform
        return float(max(math.hypot(t.a, t.d), math.hypot(t.b, t.e)))

    @property
    def georeferenced(self) -> bool:
        """Whether it is known where on Earth it lies."""
        return self.crs is not None and not self.transform.is_identity

    def place(self, column: float, row: float) -> tuple[float, float]:
        """Where a corner of a pixel lies: x and y."""
        t = self.transform
        return t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Lowest x and y, highest x and y."""
        corners = [self.place(x, y) for x in (0, self.width) for y in (0, self.height)]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def inside(self, window: Window | None, name: str) -> Window:
        """A window that lies in it; all of it where None is given.

        Raises:
            ValueError: it reaches out.
        """
        if window is None:
            return 0, 0, self.height, self.width
        row, column, height, width = window
        if min(row, column) < 0 or min(height, width) < 1 or row + height > self.height or column + width > self.width:
            raise ValueError(
                f"a window of {height} × {width} pixels at row {row}, column {column} does not lie inside {name}, "
                f"which has {self.height} × {self.width}"
            )
        return window
