"""Places in any projection as degrees on one ellipsoid, by pyproj."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.needed_libraries import pyproj_module

Numbers = NDArray[np.float64]


def in_degrees(x: Numbers, y: Numbers, crs: str | Sequence[str]) -> tuple[Numbers, Numbers]:
    """Longitudes and latitudes [n] on WGS 84, longitudes in [-180, 180).

    Args:
        x: [n] eastings or longitudes.
        y: [n] northings or latitudes.
        crs: one for all, or [n] one for each, as "EPSG:32633" or WKT.

    Raises:
        ValueError: a projection that is not known, or places outside the area of theirs.
    """
    names = np.array([crs] * len(x) if isinstance(crs, str) else list(crs), dtype=object)
    if len(names) != len(x):
        raise ValueError(f"there must be one projection for each of the {len(x)} places, got {len(names)}")
    longitude, latitude = np.empty(len(x)), np.empty(len(x))
    for name in dict.fromkeys(names):
        here = names == name
        longitude[here], latitude[here] = _transformer(name).transform(x[here], y[here])
    wrong = ~(np.isfinite(longitude) & np.isfinite(latitude)) | (np.abs(latitude) > 90)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{int(wrong.sum())} places are not on the Earth, the first x={x[first]:g}, y={y[first]:g} in "
            f"{_short(names[first])}: are x and y exchanged, or is it another projection?"
        )
    return (longitude + 180) % 360 - 180, latitude


def _transformer(name: str) -> Any:
    pyproj = pyproj_module()
    try:
        return pyproj.Transformer.from_crs(name, "EPSG:4326", always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise ValueError(f"the projection {_short(name)} is not known: {str(error)[:200]}") from None


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:59]}…"
