"""`Raster`: a file, or a product of one file for each band, read by names of bands on one grid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.bands import Band, find_band
from lightning_tl.earth.common_grid import one_grid, resampled
from lightning_tl.earth.grid import Window
from lightning_tl.earth.layers import FoundLayers, Layer, file_layers, opened
from lightning_tl.earth.needed_libraries import gdal_settings, rasterio_module
from lightning_tl.earth.products import product_layers
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.earth.scaling import check_reflectance
from lightning_tl.earth.sensors import Sensor
from lightning_tl.inputs.tiff_files import UnfitImageError


class Raster:
    """Bands on one grid, that of the finest: coarser ones are resampled to it, bilinearly.

    Files stay open between reads, in each process that reads. One object is not for several threads.

    Args:
        path: of the file, or of the product's folder.
        found: its bands, and files of them that are open.
    """

    def __init__(self, path: Path, found: FoundLayers) -> None:
        self.path, self.sensor, self.hint = path, found.sensor, found.hint
        self.layers, self.left_out = found.layers, found.left_out
        self._open: dict[tuple[int, Path], Any] = {(os.getpid(), file): opened for file, opened in found.files.items()}
        try:
            self.grid = one_grid(path, found.layers)
        except UnfitImageError:
            self.close()
            raise

    # ---------------------------------------------------------------- what it is

    @property
    def bands(self) -> tuple[Band, ...]:
        """Those with a name, in the file's order."""
        return tuple(layer.band for layer in self.layers)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(band.name for band in self.bands)

    @property
    def height(self) -> int:
        """Rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.grid.width

    @property
    def crs(self) -> Any:
        """Coordinate reference system, as rasterio has it; None where the file has none."""
        return self.grid.crs

    @property
    def transform(self) -> Any:
        """Affine map from (column, row) to (x, y)."""
        return self.grid.transform

    @property
    def georeferenced(self) -> bool:
        """Whether it is known where on Earth it lies."""
        return self.grid.georeferenced

    def footprint(self) -> list[tuple[float, float]]:
        """Its four corners in its own coordinates (x, y), from the upper left one clockwise in the picture."""
        rows, columns = self.height, self.width
        return [self.grid.place(*corner) for corner in ((0, 0), (columns, 0), (columns, rows), (0, rows))]

    def centre(self) -> tuple[float, float] | None:
        """Latitude and longitude of its middle in degrees (WGS 84); None without a georeference."""
        if not self.georeferenced:
            return None
        from rasterio.warp import transform as to_degrees

        x, y = self.grid.place(self.width / 2, self.height / 2)
        longitudes, latitudes = to_degrees(self.crs, "EPSG:4326", [x], [y])[:2]
        return float(latitudes[0]), float(longitudes[0])

    def notes(self) -> list[str]:
        """What the user should know of how its values are understood."""
        return list(dict.fromkeys(layer.scaling.told for layer in self.layers if layer.scaling.told))

    def known_values(self, bands: Sequence[str]) -> bool:
        """Whether somebody says what stored values mean: the user, tags, a product's metadata or the sensor's table."""
        return all(self.layers[self.place(name)].scaling.known for name in bands)

    def place(self, name: str) -> int:
        """The place of a band among `bands`, by name, common name or wavelength.

        Raises:
            UnfitImageError: it is not there, with the nearest names.
        """
        return find_band(name, self.bands, self.path.name, self.hint)

    def only(self, bands: Sequence[str]) -> Raster:
        """The same with these bands alone, on the grid of the finest of them; open files are shared."""
        layers = [self.layers[self.place(name)] for name in bands]
        left_out = self.left_out + len(self.layers) - len(layers)
        found = Raster(self.path, FoundLayers(layers, self.sensor, self.hint, left_out=left_out))
        found._open = self._open
        return found

    # ---------------------------------------------------------------- reading

    def read(
        self, bands: Sequence[str] | None = None, window: Window | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Physical values: reflectance where that is known, else what is stored.

        Args:
            bands: names, common names or wavelengths; default all.
            window: (first row, first column, height, width), inside the raster; default all of it.

        Returns:
            values: [bands, height, width]; where there are no data 0.
            valid: [height, width], whether there are data in every band.

        Raises:
            UnfitImageError: a band is not there, or values are no reflectance.
            OSError: the file is damaged, with its name and the rows.
            ValueError: the window does not lie inside.
        """
        layers = self.layers if bands is None else [self.layers[self.place(name)] for name in bands]
        row, column, height, width = self.grid.inside(window, self.path.name)
        values = np.empty((len(layers), height, width), np.float32)
        valid = np.ones((height, width), bool)
        shared = np.ones((height, width), bool)  # where all bands hold the value that a sensor writes for no data
        for file in dict.fromkeys(layer.file for layer in layers):
            at = [k for k, layer in enumerate(layers) if layer.file == file]
            stored, covered = self._stored([layers[k] for k in at], (row, column, height, width))
            valid &= covered
            for k, plane in zip(at, stored, strict=True):
                layer = layers[k]
                here = np.isfinite(plane)
                if layer.no_data is not None and np.isfinite(layer.no_data):
                    here &= plane != layer.no_data
                shared &= (plane == layer.shared_no_data) if layer.shared_no_data is not None else False
                valid &= here
                highest = float(plane[here].max()) if layer.scaling.assumed and here.any() else 0.0
                check_reflectance(highest, layer.scaling, layer.band, self.path.name)
                values[k] = plane * layer.scaling.scale + layer.scaling.offset  # in float64
        valid &= ~shared
        values[:, ~valid] = 0
        return values, valid

    def stored(self, window: Window | None = None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Stored numbers [bands, height, width] on the common grid, and where each band has data.

        Args:
            window: (first row, first column, height, width), inside the raster; default all of it.

        Raises:
            OSError: a file is damaged, with its name and the rows.
            ValueError: the window does not lie inside.
        """
        row, column, height, width = self.grid.inside(window, self.path.name)
        values = np.empty((len(self.layers), height, width), np.float64)
        there = np.ones(values.shape, bool)
        for file in dict.fromkeys(layer.file for layer in self.layers):
            at = [k for k, layer in enumerate(self.layers) if layer.file == file]
            planes, covered = self._stored([self.layers[k] for k in at], (row, column, height, width))
            for k, plane in zip(at, planes, strict=True):
                missing = self.layers[k].no_data
                values[k], there[k] = plane, covered & np.isfinite(plane)
                if missing is not None and np.isfinite(missing):
                    there[k] &= plane != missing
        return values, there

    def _stored(self, layers: list[Layer], window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """[layers, height, width] float64 of one file, and [height, width] what its mask covers."""
        rasterio = rasterio_module()
        row, column, height, width = window
        place = rasterio.windows.Window(column, row, width, height)
        numbers = [layer.number for layer in layers]
        try:
            with gdal_settings(), ExitStack() as stack:
                source = self._file(layers[0].file)
                covering = source if layers[0].masked else None
                if layers[0].grid != self.grid:
                    source, covering = (stack.enter_context(each) for each in resampled(source, layers[0], self.grid))
                stored = source.read(numbers, window=place)
                covered = np.ones((height, width), bool)
                if covering is not None:
                    covered = (covering.read_masks(numbers, window=place) > 0).all(0)
        except rasterio.errors.RasterioError as error:
            reason = (str(error).splitlines() or [""])[0]
            raise OSError(
                f"{layers[0].file} cannot be read in rows {row} to {row + height - 1}, columns {column} to "
                f"{column + width - 1}; it is damaged or cut off: {reason}"
            ) from None
        return stored.astype(np.float64), covered

    def _file(self, path: Path) -> Any:
        key = (os.getpid(), path)  # a file that another process opened is not to be read from
        if key not in self._open:
            self._open[key] = opened(path)
        return self._open[key]

    def close(self) -> None:
        """Close its files; they open again when they are read."""
        for (process, _), file in self._open.items():
            if process == os.getpid():
                file.close()
        self._open.clear()

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}


def open_raster(
    path: str | Path,
    options: ReadingOptions | None = None,
    sensor: Sensor | None = None,
    bands: Sequence[str] | None = None,
) -> Raster:
    """A GeoTIFF, COG, JPEG 2000 or other file that GDAL reads, or a folder with one file for each band.

    Args:
        path: of the file or folder.
        options: what is known of it beyond what it says.
        sensor: the same as `options.sensor`, for short.
        bands: names of those that will be read; default all.

    Raises:
        UnfitImageError: bands without names, several pages, or bands that do not lie upon each other.
        OSError: it cannot be opened.
        ModuleNotFoundError: rasterio is not installed.
    """
    path, options = Path(path), options or ReadingOptions()
    options = options if sensor is None else replace(options, sensor=sensor)
    if path.is_dir():
        found = Raster(path, product_layers(path, options, bands))
    else:
        found = Raster(path, file_layers(path, options))
    if bands is None:
        return found
    try:
        return found.only(bands)
    except UnfitImageError:
        found.close()
        raise
