"""The two rasters of the land-cover sample: what the earth looks like, and what covers it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(__file__).resolve().parent / "land_cover"
CLASSES = ("forest", "cropland", "urban", "water", "barren", "wetland")
IGBP = ((1, 2, 3, 4, 5), (12, 14), (13,), (0,), (16,), (11,))  # the map's codes of each class
BLOCK_PIXELS = 75  # side of the blocks that are training, validation or test as a whole
CELLS_PER_PIXEL = 20 / 15  # 0.05 degree cells, 1/15 degree pixels

_WATER, _SNOW = 0, 15
_NUMBERS = np.full(256, len(CLASSES), np.uint8)  # IGBP code -> class number, len(CLASSES) for none of them
for _number, _codes in enumerate(IGBP):
    _NUMBERS[list(_codes)] = _number


class LandCoverMap:
    """NASA Blue Marble imagery (1/15 degree a pixel) and MODIS land cover (0.05 degrees a cell); read when asked for.

    Places are pixel corners of the image: row 0 is 90° N, column 0 is 180° W.
    """

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """The labelled tiles, one a row; see `land_cover/README.md` for the columns."""
        return pd.read_parquet(FOLDER / "manifest.parquet")

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """[2700, 5400, 3], RGB."""
        with Image.open(FOLDER / "blue_marble_2004_5400x2700.jpg") as file:
            pixels: NDArray[np.uint8] = np.asarray(file.convert("RGB"))
        return pixels

    @cached_property
    def igbp(self) -> NDArray[np.uint8]:
        """[3600, 7200], IGBP codes 0 to 16."""
        with Image.open(FOLDER / "modis_mcd12c1_2019_igbp_7200x3600.tif") as file:
            cells: NDArray[np.uint8] = np.asarray(file)
        return cells

    def land_pixels(self) -> NDArray[np.bool_]:
        """Which pixels of the image are land, and not under ice, at their centres: [2700, 5400]."""
        rows, columns = (((np.arange(n) + 0.5) * CELLS_PER_PIXEL).astype(int) for n in self.image.shape[:2])
        land: NDArray[np.bool_] = ~np.isin(self.igbp, (_WATER, _SNOW))[np.ix_(rows, columns)]
        return land

    def tiles(self, rows: NDArray[np.int64], columns: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """Square tiles around pixel corners: [n, size, size, 3]."""
        around = np.arange(size) - size // 2
        found: NDArray[np.uint8] = self.image[
            (rows[:, None] + around)[:, :, None], (columns[:, None] + around)[:, None, :]
        ]
        return found

    def cover(self, row: float, column: float, half: float) -> NDArray[np.float64]:
        """Share of a square's area that each class covers, exactly: [6], at most 1 in sum.

        Args:
            row: of the square's centre, and `column` too, in pixels of the image.
            column: of the square's centre.
            half: half the square's side in pixels.
        """
        cells, weights = self._overlapped(row, column, half)
        areas = np.bincount(_NUMBERS[cells].ravel(), weights.ravel(), minlength=len(CLASSES) + 1)
        shares: NDArray[np.float64] = areas[: len(CLASSES)] / weights.sum()
        return shares

    def code_shares(self, row: float, column: float, half: float) -> NDArray[np.float64]:
        """Share of a square's area that each code of the map covers, exactly: [17], 1 in sum; see `cover`."""
        cells, weights = self._overlapped(row, column, half)
        shares: NDArray[np.float64] = np.bincount(cells.ravel(), weights.ravel(), minlength=17) / weights.sum()
        return shares

    def _overlapped(self, row: float, column: float, half: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The cells that a square touches, and the area of its overlap with each: [rows, columns] both."""
        (top, row_weights), (left, column_weights) = (_overlap(at - half, at + half) for at in (row, column))
        cells = self.igbp[top : top + len(row_weights), left : left + len(column_weights)]
        return cells, row_weights[:, None] * column_weights[None, :]


def _overlap(start: float, stop: float) -> tuple[int, NDArray[np.float64]]:
    """First cell that the pixels from `start` to `stop` touch, and the length of their overlap with each cell."""
    low, high = start * CELLS_PER_PIXEL, stop * CELLS_PER_PIXEL
    first, last = int(np.floor(low + 1e-9)), int(np.ceil(high - 1e-9))
    cells = np.arange(first, last)
    return first, np.minimum(cells + 1, high) - np.maximum(cells, low)
