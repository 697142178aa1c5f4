"""`Scene`: one georeferenced file, read window by window as it is stored."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.layers import Grid, opened
from lightning_tl.earth.needed_libraries import rasterio_module

Window = tuple[int, int, int, int]  # first row, first column, height, width


class Scene:
    """A raster file with a place on the Earth; values, no-data and names of bands stay as they are.

    Args:
        path: a file that GDAL reads.

    Raises:
        ValueError: it is a folder, or has no georeference.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise ValueError(
                f"{path} is a folder, and chips are cut from one file: put its bands into one, for example with "
                "gdal_merge.py -separate or rio stack, with a description for each"
            )
        self.path, self.file = path, opened(path)
        if self.file.crs is None or self.file.transform.is_identity:
            self.file.close()
            raise ValueError(f"{path} has no georeference, so that labels cannot be laid over it: give it a projection")

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.file.height)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.file.width)

    @property
    def crs(self) -> str:
        """Its projection, as "EPSG:32633" where it has a number, else as WKT."""
        return crs_text(self.file.crs)

    @property
    def metre(self) -> float | None:
        """Metres in a unit of its coordinates; None for degrees."""
        return None if self.file.crs.is_geographic else float(self.file.crs.linear_units_factor[1])

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """What is stored [bands, height, width], and where there are data in any band [height, width].

        Raises:
            OSError: the file is damaged, with the rows.
        """
        rasterio = rasterio_module()
        row, column, height, width = window
        place = rasterio.windows.Window(column, row, width, height)
        try:
            stored = self.file.read(window=place)
            there = (self.file.read_masks(window=place) > 0).any(0)
        except rasterio.errors.RasterioError as error:
            raise OSError(
                f"{self.path} cannot be read in rows {row} to {row + height - 1}, columns {column} to "
                f"{column + width - 1}; it is damaged or cut off: {(str(error).splitlines() or [''])[0]}"
            ) from None
        if np.issubdtype(stored.dtype, np.floating):
            there &= np.isfinite(stored).any(0)
        return stored, there

    def transform(self, window: Window) -> Any:
        """The affine map of a window."""
        place = rasterio_module().windows.Window(window[1], window[0], window[3], window[2])
        return rasterio_module().windows.transform(place, self.file.transform)

    def box(self, window: Window) -> tuple[float, float, float, float]:
        """West, south, east and north of a window, in the scene's coordinates."""
        return Grid(window[2], window[3], self.file.crs, self.transform(window)).bounds

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def crs_text(crs: Any) -> str:
    """A projection as "EPSG:32633" where it has a number, else as WKT."""
    number = crs.to_epsg()
    return f"EPSG:{number}" if number else str(crs.to_wkt())
