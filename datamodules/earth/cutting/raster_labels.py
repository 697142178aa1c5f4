"""`RasterLabels`: a raster of classes laid over a scene."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.cutting.laid_labels import NONE, check_count
from datamodules.earth.cutting.scene import Scene, Window, crs_text
from lightning_tl.earth.layers import check_kind, opened
from lightning_tl.earth.needed_libraries import rasterio_module

_STRIP = 512  # rows that are read at once to see which values there are


class RasterLabels:
    """A pixel has the class of the label pixel in which its middle lies.

    Args:
        scene: over which they are laid.
        path: a raster of one band of whole numbers.

    Raises:
        ValueError: several bands, fractions, no georeference, or none of it lies over the scene.
        OSError: it cannot be opened, or is damaged.
    """

    def __init__(self, scene: Scene, path: Path) -> None:
        self.scene, self.path = scene, path
        self.notes: list[str] = []
        self.file = opened(path)
        check_kind(self.file, path, classes=True)
        if self.file.count != 1:
            raise ValueError(f"{path} has {self.file.count} bands, and labels are one band of class numbers")
        self.missing = self.file.nodata
        self.source = self._on_the_grid()
        self.values = self._find_values()
        names = category_names(path)
        named = {value: names[value] for value in self.values if 0 <= value < len(names) and names[value]}
        self.class_names = tuple(named.get(value, str(value)) for value in self.values)
        check_count(self.class_names, str(path))
        if 0 in self.values and self.missing is None and 0 not in named:
            self.notes.append(
                f"0 is a class of {path}, as the file does not say that it means no label; where it does, give it "
                "the no-data value 0"
            )
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"{path} gives several values one class name: {', '.join(self.class_names[:20])}")

    def _on_the_grid(self) -> Any:
        from rasterio.enums import Resampling
        from rasterio.vrt import WarpedVRT

        scene, own = self.scene.grid, self.file
        if own.crs is None or own.transform.is_identity:
            raise ValueError(f"{self.path} has no georeference, so that it cannot be laid over the scene")
        same = own.crs == scene.crs
        if same and own.transform.almost_equals(scene.transform, 1e-9) and own.shape == (scene.height, scene.width):
            return own
        if not same:
            self.notes.append(
                f"{self.path} is in {crs_text(own.crs)[:40]}, the scene in {self.scene.crs[:40]}: it is reprojected"
            )
        else:
            self.notes.append(f"{self.path} lies on another grid than the scene: the nearest pixel's class is taken")
        return WarpedVRT(
            own,
            crs=scene.crs,
            transform=scene.transform,
            width=scene.width,
            height=scene.height,
            resampling=Resampling.nearest,
            add_alpha=self.missing is None,  # to tell what lies outside from a class of number 0
        )

    def _find_values(self) -> list[int]:
        found: set[int] = set()
        for row in range(0, self.scene.height, _STRIP):
            window = (row, 0, min(_STRIP, self.scene.height - row), self.scene.width)
            values, there = self._read(window)
            found |= set(np.unique(values[there]).tolist())
            if len(found) > 65_536:
                break
        if not found:
            raise ValueError(f"no label of {self.path} lies over the scene: is it of another place, or all no-data?")
        return sorted(found)

    def _read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        rasterio = rasterio_module()
        place = rasterio.windows.Window(window[1], window[0], window[3], window[2])
        try:
            stored = self.source.read(1, window=place)
            there = self.source.read_masks(1, window=place) > 0
        except rasterio.errors.RasterioError as error:
            raise OSError(
                f"{self.path} cannot be read under rows {window[0]} to {window[0] + window[2] - 1} of the scene; it is "
                f"damaged or cut off: {(str(error).splitlines() or [''])[0]}"
            ) from None
        if np.issubdtype(stored.dtype, np.floating):
            there &= np.isfinite(stored)
            broken = stored[there & (stored != np.round(stored))]
            if len(broken):
                raise ValueError(
                    f"{self.path} has values with fractions ({broken[0]:g}), and classes are whole numbers"
                )
            stored = np.where(there, stored, 0)
        return stored.astype(np.int64), there

    def mask(self, window: Window) -> NDArray[np.uint8]:
        """See `LaidLabels`."""
        values, there = self._read(window)
        numbers = np.searchsorted(self.values, values).clip(0, len(self.values) - 1)
        return np.where(there, numbers, NONE).astype(np.uint8)


def category_names(path: Path) -> list[str]:
    """The names that a raster of classes has for its values 0, 1, …; empty where it has none."""
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy

    with MemoryFile(ext=".vrt") as memory:  # rasterio does not show them, and a VRT is text
        copy(str(path), memory.name, driver="VRT")
        tree = ET.fromstring(memory.read())
    return [entry.text or "" for entry in tree.findall("./VRTRasterBand[@band='1']/CategoryNames/Category")]
