"""`RasterReader`: the bytes of a raster of many bands to what a graph is fed, its bands taken by name."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lightning_tl.earth import BandReading
from lightning_tl.inputs.tiff_files import UnfitImageError
from lightning_tl.serving.answering import BadInputError
from lightning_tl.serving.models.image_reader import MOST_PIXELS, ImageReader


class RasterReader(ImageReader):
    """Reads rasters as the run did: bands by name, values in physical units, indices, what is missing filled.

    Args:
        reads: as for `ImageReader`, with `reading`, see `BandReading`.
        most_pixels: of a raster.
    """

    def __init__(self, reads: Mapping[str, Any], most_pixels: int = MOST_PIXELS) -> None:
        super().__init__(reads, most_pixels)
        self.reading = BandReading.from_json(reads["reading"])

    def _pixels(self, raw: bytes) -> NDArray[Any]:
        with tempfile.NamedTemporaryFile(suffix=".tif") as file:  # GDAL goes by the content
            file.write(raw)
            file.flush()
            try:
                with self.reading.open(Path(file.name)) as raster:
                    self._check_count(raster.height * raster.width)
                    chip = self.reading.read(raster)
            except (UnfitImageError, OSError) as error:  # which name the file
                told = str(error).replace(file.name, "the raster").replace(Path(file.name).name, "the raster")
                raise type(error)(told) from None
        if not chip.valid.any():
            raise BadInputError("the raster has no data: every pixel is missing", 422)
        return chip.pixels


def image_reader(reads: Mapping[str, Any]) -> ImageReader:
    """What reads the images of a model: pictures, or rasters whose bands have names."""
    return RasterReader(reads) if reads.get("reading") else ImageReader(reads)
