"""`BlockGrid`: the Earth cut into squares of one size, which are the same whatever lies in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.geodesy import Numbers, in_degrees
from lightning_tl.earth.needed_libraries import pyproj_module


class BlockGrid:
    """Squares of `size_m` on the ellipsoid WGS 84, in rows along the parallels.

    A row is `size_m` high along the meridian, from the equator on. In each row the parallel through its middle is cut
    into as many equal blocks as come nearest to `size_m`, from longitude -180 on. So a block depends on the place
    alone: on no other tile, and not on the projection that a tile comes in, and two tiles that overlap in different UTM
    zones do not lie in different blocks on that account.

    Args:
        size_m: side of a block in metres.
    """

    def __init__(self, size_m: float) -> None:
        if not (np.isfinite(size_m) and 0 < size_m <= 10_000_000):
            raise ValueError(f"the size of a block must be above 0 and at most 10,000 km, got {size_m / 1000:g} km")
        self.size_m = float(size_m)

    def names(self, x: Numbers, y: Numbers, crs: str | Sequence[str] | None) -> NDArray[np.str_]:
        """The block [n] of each place, as "row:column".

        Args:
            x: [n] eastings or longitudes.
            y: [n] northings or latitudes.
            crs: one for all, or [n] one for each; None for metres on a plane that belongs to no place on the Earth.

        Raises:
            ValueError: a place that is no number, or not on the Earth.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if wrong := int((~(np.isfinite(x) & np.isfinite(y))).sum()):
            raise ValueError(f"{wrong} of {len(x)} tiles have no place (x or y is no number): give them one")
        if crs is None:
            rows, columns = np.floor(y / self.size_m), np.floor(x / self.size_m)
        else:
            rows, columns = self._of_degrees(*in_degrees(x, y, crs))
        pairs = zip(rows.astype(np.int64), columns.astype(np.int64), strict=True)
        return np.array([f"{row}:{column}" for row, column in pairs], dtype=np.str_)

    def _of_degrees(self, longitude: Numbers, latitude: Numbers) -> tuple[Numbers, Numbers]:
        geod = pyproj_module().Geod(ellps="WGS84")
        nothing = np.zeros_like(latitude)
        north = geod.inv(nothing, nothing, nothing, latitude)[2] * np.sign(latitude)  # along the meridian
        rows = np.floor(north / self.size_m)
        quarter = float(geod.inv(0, 0, 0, 90)[2])  # the last row ends at the pole
        middle = np.clip((rows + 0.5) * self.size_m, -quarter, quarter)
        latitudes = geod.fwd(nothing, nothing, nothing, np.abs(middle))[1]
        sine, cosine = np.sin(np.radians(latitudes)), np.cos(np.radians(latitudes))
        around = 2 * np.pi * geod.a * cosine / np.sqrt(1 - geod.es * sine**2)  # length of the parallel, in metres
        count = np.maximum(1, np.round(around / self.size_m))
        return rows, np.minimum(np.floor((longitude + 180) / 360 * count), count - 1)
