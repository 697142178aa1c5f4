"""`FileScene`: a scene of one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.cutting.scene import Scene, StoredBands, Window
from lightning_tl.earth.grid import Grid
from lightning_tl.earth.layers import check_kind, opened
from lightning_tl.earth.needed_libraries import rasterio_module
from lightning_tl.inputs.tiff_files import UnfitImageError


class FileScene(Scene):
    """A raster file.

    Args:
        path: a file that GDAL reads.

    Raises:
        ValueError: it has several pages, a colour table, or no georeference.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        from rasterio.enums import MaskFlags

        file = self.file = opened(path)
        try:
            check_kind(file, path)
        except UnfitImageError:
            file.close()
            raise
        flags = file.mask_flag_enums[0]
        bands = StoredBands(
            dtype=file.dtypes[0],
            no_data=file.nodata,
            descriptions=file.descriptions,
            scales=file.scales,
            offsets=file.offsets,
            units=file.units,
            colours=file.colorinterp,
            tags=tuple(file.tags(number) for number in range(1, file.count + 1)),
            of_file={name: value for name, value in file.tags().items() if name != "AREA_OR_POINT"},
            masked=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        )
        super().__init__(path, Grid(file.height, file.width, file.crs, file.transform), bands, (path,))

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """See `Scene`; there are data where there are some in any band."""
        row, column, height, width = window
        try:
            stored = self.file.read(window=_place(window))
            there = (self.file.read_masks(window=_place(window)) > 0).any(0)
        except rasterio_module().errors.RasterioError as error:
            raise OSError(
                f"{self.path} cannot be read in rows {row} to {row + height - 1}, columns {column} to "
                f"{column + width - 1}; it is damaged or cut off: {(str(error).splitlines() or [''])[0]}"
            ) from None
        if np.issubdtype(stored.dtype, np.floating):
            there &= np.isfinite(stored).any(0)
        return stored, there

    def mask(self, window: Window) -> NDArray[np.bool_] | None:
        """See `Scene`."""
        return np.asarray(self.file.dataset_mask(window=_place(window)) > 0) if self.bands.masked else None

    def close(self) -> None:
        """See `Scene`."""
        self.file.close()


def _place(window: Window) -> Any:
    return rasterio_module().windows.Window(window[1], window[0], window[3], window[2])
