"""Writing a map as cloud-optimised GeoTIFF files: classes with colours and names, confidence, probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from lightning_tl.contracts.mask_legend import Colour
from lightning_tl.earth.layers import Grid
from lightning_tl.earth.needed_libraries import rasterio_module
from lightning_tl.mapping.block_parts import BlockParts
from lightning_tl.mapping.painted_block import NO_CLASS, NO_CONFIDENCE, NO_PROBABILITY
from lightning_tl.mapping.plans import Window
from lightning_tl.storage.partial_file import write_whole

_CACHE_MIB = 64  # of GDAL, whose default is a share of the machine's memory


class MapFiles:
    """The files of a map: `NAME.tif`, `NAME.confidence.tif` and, where they are kept, `NAME.probabilities.tif`.

    Each is filled from the blocks beside its place, turned into a COG, read again and moved there.

    Args:
        output: `NAME.tif`.
        grid: of the map.
        class_names: in order.
        colours: of the classes.
        probabilities: whether there is a file of them.
        tags: what is written into the files about their making.
    """

    def __init__(
        self,
        output: Path,
        grid: Grid,
        class_names: Sequence[str],
        colours: Sequence[Colour],
        probabilities: bool,
        tags: dict[str, str],
    ) -> None:
        self.colours = tuple(colours)
        self.output, self.grid, self.class_names, self.tags = output, grid, tuple(class_names), tags
        self.confidence = output.with_suffix(".confidence.tif")
        self.probabilities = output.with_suffix(".probabilities.tif") if probabilities else None

    def write(self, parts: BlockParts, blocks: Sequence[Window]) -> None:
        """Join the blocks.

        Raises:
            OSError: the disk is full, or what was written cannot be read again.
        """
        names = {f"CLASS_{number}": name for number, name in enumerate(self.class_names)}
        palette = {number: (*colour, 255) for number, colour in enumerate(self.colours)}
        self._write(self.confidence, parts, blocks, "confidence", NO_CONFIDENCE, ["confidence in percent"], {})
        if self.probabilities is not None:
            self._write(self.probabilities, parts, blocks, "probabilities", NO_PROBABILITY, self.class_names, names)
        self._write(self.output, parts, blocks, "classes", NO_CLASS, ["class"], names, palette)
        write_whole(Path(f"{self.output}.aux.xml"), _category_names(self.class_names))

    def _write(
        self,
        path: Path,
        parts: BlockParts,
        blocks: Sequence[Window],
        what: str,
        missing: int,
        bands: Sequence[str],
        names: dict[str, str],
        palette: dict[int, tuple[int, int, int, int]] | None = None,
    ) -> None:
        rasterio = rasterio_module()
        plain, cog = parts.folder / f"{what}.plain.tif", parts.folder / f"{what}.tif"
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "height": self.grid.height,
            "width": self.grid.width,
            "count": len(bands),
            "dtype": "uint16" if what == "probabilities" else "uint8",
            "nodata": missing,
            "tiled": True,
            "bigtiff": "IF_SAFER",
        }
        if self.grid.georeferenced:
            profile |= {"crs": self.grid.crs, "transform": self.grid.transform}
        with _written(path), rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB):
            with rasterio.open(plain, "w", **profile) as file:
                file.descriptions = tuple(bands)
                file.update_tags(**self.tags, **names)
                if what != "classes":
                    file.scales = ((0.01 if what == "confidence" else 0.0001),) * len(bands)
                if palette is not None:
                    file.write_colormap(1, palette)
                for number, (row, column, height, width) in enumerate(blocks):
                    values = getattr(parts.block(number), what)
                    place = rasterio.windows.Window(column, row, width, height)
                    file.write(values if values.ndim == 3 else values[None], window=place)
            resampling = "NEAREST" if what == "classes" else "AVERAGE"
            made = {"compress": "DEFLATE", "blocksize": 512, "bigtiff": "IF_SAFER", "overview_resampling": resampling}
            from rasterio.shutil import copy

            copy(str(plain), str(cog), driver="COG", **made)
            plain.unlink()
            self._check(cog, parts, blocks, what)
            os.replace(cog, path)

    def _check(self, path: Path, parts: BlockParts, blocks: Sequence[Window], what: str) -> None:
        """GDAL does not tell of every write that failed.

        Raises:
            OSError: the file is not what was written.
        """
        rasterio = rasterio_module()
        with rasterio.open(path) as file:
            for number, (row, column, height, width) in enumerate(blocks):
                found = file.read(window=rasterio.windows.Window(column, row, width, height))
                if not np.array_equal(found, np.atleast_3d(getattr(parts.block(number), what)).reshape(found.shape)):
                    raise OSError(f"{path} does not hold what was written, in rows {row} to {row + height - 1}")


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except rasterio_module().errors.RasterioError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise OSError(
            f"{path} could not be written ({reason}): is the disk full? What is done stays, and the same command"
            f" goes on"
        ) from None


def _category_names(names: Sequence[str]) -> str:
    """Names of classes as GDAL and QGIS read them, beside a raster."""
    rows = "".join(f"      <Category>{escape(name)}</Category>\n" for name in names)
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{rows}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )
