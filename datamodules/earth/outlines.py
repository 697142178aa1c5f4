"""Outlines of tiles, and which of them touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.geodesy import Numbers, in_degrees
from lightning_tl.earth.needed_libraries import pyproj_module, shapely_module

_NEAR = 1e-4  # of a tile's side: edges that are one edge differ in their last digits


def boxes_in_one_crs(boxes: Numbers, crs: str | Sequence[str] | None) -> tuple[NDArray[np.object_], bool]:
    """Polygons [n] that can be compared, and whether they are in degrees, where -180 touches 180.

    Those of one projection stay in it; those of several are brought to degrees, corner by corner.

    Args:
        boxes: [n, 4] west, south, east, north.
        crs: one for all, [n] one for each, or None for a plane.

    Raises:
        ValueError: a box whose east lies west of its west, or whose north lies south of its south.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    west, south, east, north = boxes.T
    wrong = ~((east > west) & (north > south))
    if wrong.any():
        raise ValueError(
            f"{int(wrong.sum())} tiles have no area, the first west, south, east, north = "
            f"{boxes[int(np.flatnonzero(wrong)[0])].tolist()}"
        )
    shapely = shapely_module()
    different = {crs} if isinstance(crs, str) else set(crs or ())
    if len(different) <= 1:
        degrees = bool(different) and bool(pyproj_module().CRS.from_user_input(next(iter(different))).is_geographic)
        return np.asarray(shapely.box(west, south, east, north), dtype=object), degrees
    corners = [in_degrees(x, y, crs or "") for x, y in ((west, south), (east, south), (east, north), (west, north))]
    longitude, latitude = np.stack([pair[0] for pair in corners], 1), np.stack([pair[1] for pair in corners], 1)
    across = np.ptp(longitude, axis=1) > 180
    longitude[across] = longitude[across] % 360  # one that crosses 180 degrees
    return np.asarray(shapely.polygons(np.stack([longitude, latitude], 2)), dtype=object), True


def touches(some: NDArray[Any], others: NDArray[Any], degrees: bool = False) -> NDArray[np.bool_]:
    """Which of some tiles [n] touch or overlap any of the others.

    Args:
        some: [n] polygons, or [n, 4] boxes: west, south, east, north.
        others: [m] the same.
        degrees: whether x are longitudes, of which -180 and 180 are one.
    """
    found = np.zeros(len(some), bool)
    if not len(some) or not len(others):
        return found
    shapely = shapely_module()
    asked, there = (_polygons(each) for each in (some, others))
    tree = shapely.STRtree(there)
    bounds = shapely.bounds(asked)
    near = _NEAR * np.minimum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    for turn in (-360.0, 0.0, 360.0) if degrees else (0.0,):
        moved = shapely.transform(asked, lambda at, turn=turn: at + np.array([turn, 0.0])) if turn else asked
        found[np.unique(tree.query(moved, predicate="dwithin", distance=near)[0])] = True
    return found


def touching(some: NDArray[Any], others: NDArray[Any], degrees: bool = False) -> int:
    """How many of some tiles touch or overlap any of the others; arguments as of `touches`."""
    return int(touches(some, others, degrees).sum())


def _polygons(tiles: NDArray[Any]) -> NDArray[np.object_]:
    if tiles.ndim == 1:
        return tiles
    return np.asarray(shapely_module().box(*np.asarray(tiles, np.float64).T), dtype=object)
