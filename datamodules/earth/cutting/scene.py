"""`Scene`: a georeferenced file, or a product's folder, read window by window as it is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.grid import Grid
from lightning_tl.earth.needed_libraries import rasterio_module

Window = tuple[int, int, int, int]  # first row, first column, height, width


@dataclass(frozen=True)
class StoredBands:
    """How a scene's bands are stored, which chips keep.

    Args:
        dtype: of stored values.
        no_data: stored value of pixels without data; None where none is marked.
        descriptions: of the bands; None for one without.
        scales: physical value of a stored 1, 1 where nobody says.
        offsets: added after it.
        units: of the physical values.
        colours: what the bands are in pictures, as rasterio has it.
        tags: of the bands.
        of_file: tags of the whole.
        masked: whether a mask beside the bands says where there are data.
    """

    dtype: str
    no_data: float | None
    descriptions: tuple[str | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    units: tuple[str | None, ...]
    colours: tuple[Any, ...]
    tags: tuple[dict[str, str], ...]
    of_file: dict[str, str]
    masked: bool


class Scene(ABC):
    """Bands on one grid with a place on the Earth; values, no-data and names stay as they are.

    Args:
        path: of the file or folder.
        grid: of the pixels.
        bands: how they are stored.
        files: that are read.

    Raises:
        ValueError: it has no georeference.
    """

    def __init__(self, path: Path, grid: Grid, bands: StoredBands, files: tuple[Path, ...]) -> None:
        self.path, self.grid, self.bands, self.files = path, grid, bands, files
        if not grid.georeferenced:
            self.close()
            raise ValueError(f"{path} has no georeference, so that labels cannot be laid over it: give it a projection")

    @property
    def name(self) -> str:
        """Of the scene, without an ending, for the names of chips."""
        return self.path.name if self.path.is_dir() else self.path.stem

    @property
    def height(self) -> int:
        """Rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.grid.width

    @property
    def crs(self) -> str:
        """Its projection, as "EPSG:32633" where it has a number, else as WKT."""
        return crs_text(self.grid.crs)

    @property
    def metre(self) -> float | None:
        """Metres in a unit of its coordinates; None for degrees."""
        return None if self.grid.crs.is_geographic else float(self.grid.crs.linear_units_factor[1])

    @property
    def pixel_area(self) -> float:
        """Of a pixel, in squares of a unit of its coordinates."""
        transform = self.grid.transform
        return float(abs(transform.a * transform.e - transform.b * transform.d))

    @abstractmethod
    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """What is stored [bands, height, width], and where there are data [height, width].

        Raises:
            OSError: the file is damaged, with the rows.
        """

    @abstractmethod
    def mask(self, window: Window) -> NDArray[np.bool_] | None:
        """Where the mask beside the bands says that there are data [height, width]; None where there is none."""

    def transform(self, window: Window) -> Any:
        """The affine map of a window."""
        place = rasterio_module().windows.Window(window[1], window[0], window[3], window[2])
        return rasterio_module().windows.transform(place, self.grid.transform)

    def box(self, window: Window) -> tuple[float, float, float, float]:
        """West, south, east and north of a window, in the scene's coordinates."""
        return Grid(window[2], window[3], self.grid.crs, self.transform(window)).bounds

    @abstractmethod
    def close(self) -> None:
        """Close its files."""

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
