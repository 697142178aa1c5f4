"""A scene as the model of a run reads it, window by window."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth import BandReading, Raster, open_raster
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.inputs.pixel_values import PixelValues
from lightning_tl.inputs.tiff_files import UnfitImageError
from lightning_tl.mapping.plans import Window

Pixels = NDArray[np.uint8] | NDArray[np.float32]
_RGB = ("red", "green", "blue")


class SceneSource(Protocol):
    """What a map is made from."""

    path: Path
    raster: Raster
    options: ReadingOptions

    def read(self, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        """Pixels [height, width, channels], uint8 or floats in 0…1, and where there are data [height, width].

        Raises:
            OSError: the file is damaged there, with its rows and columns.
        """
        ...


class BandScene:
    """A scene read by the bands, indices and ranges of a run.

    Args:
        path: file, or folder of a product.
        reading: of the run.

    Raises:
        ValueError: it lacks a band, with the nearest names.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, reading: BandReading) -> None:
        self.path, self.reading, self.options = path, reading, reading.options
        self.raster = reading.open(path)

    def read(self, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        """See `SceneSource`."""
        chip = self.reading.read(self.raster, window)
        return chip.pixels, chip.valid


class RgbScene:
    """A scene read by its red, green and blue band, for a run on ordinary pictures.

    Args:
        path: file, or folder of a product.
        value_range: lowest and highest value, which become black and white; None where the scene has 8 bits.

    Raises:
        ValueError: it lacks one of the bands, or has more than 8 bits and no range was given.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, value_range: tuple[float, float] | None) -> None:
        self.path, self.values, self.options = path, PixelValues(value_range), ReadingOptions()
        self.raster = open_raster(path, self.options).only(_RGB)
        kinds = sorted({layer.dtype for layer in self.raster.layers})
        self.eight_bits = kinds == ["uint8"] and not self.raster.known_values(_RGB)
        if value_range is None and not self.eight_bits:
            raise UnfitImageError(
                f"{path.name} holds {' and '.join(kinds)}, and the run was trained on pictures of 8 bits: say which "
                "values are black and white, as they were in the pictures, with --value_range LOW,HIGH (of reflectance "
                "often 0,0.3)"
            )

    def read(self, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        """See `SceneSource`."""
        read, valid = self.raster.read(_RGB, window)
        stored: NDArray[Any] = read.transpose(1, 2, 0)
        if self.eight_bits:
            stored = stored.astype(np.uint8)
        return self.values(np.ascontiguousarray(stored), 3), valid
