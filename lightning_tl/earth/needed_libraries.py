"""rasterio and GDAL, asked for with one message where they are missing."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any


def rasterio_module() -> Any:
    """The module rasterio.

    Raises:
        ModuleNotFoundError: with the way to install it.
    """
    try:
        import rasterio
    except ModuleNotFoundError as error:
        if error.name != "rasterio":
            raise
        raise ModuleNotFoundError(
            "rasters are read by rasterio, which is not installed: python -m pip install 'lightning-tl[earth]'",
            name="rasterio",
        ) from None
    unplaced = ("ignore", None, rasterio.errors.NotGeoreferencedWarning, None, 0)
    if unplaced not in warnings.filters:  # tiles without georeference are usual, and told where one is needed
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    return rasterio


def gdal_settings() -> AbstractContextManager[Any]:
    """How GDAL opens files here: a folder of 27,000 tiles is not listed again for each of them."""
    settings: AbstractContextManager[Any] = rasterio_module().Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE")
    return settings
