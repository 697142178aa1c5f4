"""rasterio, GDAL and their like, asked for with one message where they are missing."""

from __future__ import annotations

import importlib
import threading
import warnings
from contextlib import AbstractContextManager
from typing import Any

_FILTERING = threading.Lock()


def rasterio_module() -> Any:
    """The module rasterio.

    Raises:
        ModuleNotFoundError: with the way to install it.
    """
    rasterio = _module("rasterio", "rasters are read")
    unplaced = ("ignore", None, rasterio.errors.NotGeoreferencedWarning, None, 0)
    with _FILTERING:  # or another thread would find the filter away for a moment
        if unplaced not in warnings.filters:  # tiles without georeference are usual, and told where one is needed
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    return rasterio


def pyproj_module() -> Any:
    """The module pyproj; raises as `rasterio_module`."""
    return _module("pyproj", "places are projected")


def shapely_module() -> Any:
    """The module shapely; raises as `rasterio_module`."""
    return _module("shapely", "outlines are compared")


def pyogrio_module() -> Any:
    """The module pyogrio; raises as `rasterio_module`."""
    return _module("pyogrio", "polygons are read")


def _module(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"{what} by {name}, which is not installed: python -m pip install 'lightning-tl[earth]'", name=name
        ) from None


def gdal_settings() -> AbstractContextManager[Any]:
    """How GDAL opens files here: a folder of 27,000 tiles is not listed again for each of them."""
    settings: AbstractContextManager[Any] = rasterio_module().Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE")
    return settings
