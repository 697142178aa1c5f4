"""`MaskWriter`: predicted masks as files, each of the size of its image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lightning_tl.contracts.mask_legend import MaskedSamples, MaskLegend
from lightning_tl.earth.needed_libraries import rasterio_module
from lightning_tl.storage.partial_file import fresh_file

_MOST = 200_000_000  # probabilities of one image that are enlarged at once; of larger ones classes are
_SHADES = 256


class MaskWriter:
    """Writes the most probable class of each pixel, as the number that the masks of training have for it.

    PNG with the classes' colours as its palette; of an image that is a GeoTIFF, a GeoTIFF of the same place.

    Args:
        folder: below which masks lie as their images' names say.
        data: the images.
    """

    def __init__(self, folder: Path, data: MaskedSamples) -> None:
        self.folder, self.data, self.legend = folder, data, data.legend

    def write(self, index: Sequence[int], ids: Sequence[str], probabilities: Tensor) -> dict[str, NDArray[Any]]:
        """Write the masks of a batch.

        Args:
            index: [n] places in the data set.
            ids: [n] names of the images.
            probabilities: [n, classes, side, side], of the square that an image was filled up to.

        Returns:
            columns for a table: `mask` [n], the files below `folder`, and `pixels` [n, classes], how many of each.
        """
        names, counts = [], []
        for number, name, given in zip(index, ids, probabilities, strict=True):
            classes = of_frame(given, *self.data.frame(number))
            source = self.data.image_path(number)
            file = mask_name(name, source)
            self._save(self.folder / file, self.legend.stored(classes), source)
            names.append(file)
            counts.append(np.bincount(classes.ravel(), minlength=len(self.legend.names)))
        return {"mask": np.array(names, object), "pixels": np.stack(counts)}

    def _save(self, path: Path, stored: NDArray[Any], source: Path | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        if path.suffix == ".tif" and source is not None:
            content = geotiff(stored, self.legend, source)
            with fresh_file(partial) as file:
                file.write(content)
        else:
            with fresh_file(partial) as file:
                paletted(stored, self.legend).save(file, "PNG")
        partial.replace(path)


def of_frame(probabilities: Tensor, height: int, width: int) -> NDArray[np.int64]:
    """The most probable class of each pixel of an image's file: [height, width].

    Args:
        probabilities: [classes, side, side], of the image filled up to a square at the right and below.
        height: of the file in pixels.
        width: likewise.
    """
    given, side = probabilities.detach().cpu().float(), max(height, width)
    if tuple(given.shape[1:]) != (side, side):
        if len(given) * side * side <= _MOST:
            given = F.interpolate(given[None], size=(side, side), mode="bilinear", align_corners=False)[0]
        else:
            at = ((torch.arange(side) + 0.5) * given.shape[1] / side).long()
            classes: NDArray[np.int64] = given.argmax(0)[at[:height, None], at[None, :width]].numpy()
            return classes
    found: NDArray[np.int64] = given[:, :height, :width].argmax(0).numpy()
    return found


def mask_name(name: str, source: Path | None) -> str:
    """Where the mask of an image lies, below the folder of masks: never above it, whatever the image is called."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    path = PurePosixPath(*(part.replace(":", "_") for part in parts)) if parts else PurePosixPath("mask")
    ending = ".tif" if source is not None and _is_placed(source) else ".png"
    same = path.suffix.lower() == ending or (ending == ".tif" and path.suffix.lower() == ".tiff")
    return str(path.with_suffix(ending) if same else path.with_name(path.name + ending))


def _is_placed(source: Path) -> bool:
    """Whether a file says where on earth it lies, as far as can be read here."""
    if source.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"):
        return False
    try:
        with _opened(source) as file:
            return file.crs is not None
    except (ImportError, OSError, ValueError):
        return False


def _opened(source: Path) -> Any:
    rasterio = rasterio_module()
    if source.is_dir():  # a product of one file a band: the largest one's grid
        files = [path for path in source.rglob("*") if path.suffix.lower() in (".tif", ".tiff", ".jp2")]
        if not files:
            raise ValueError(f"{source} has no raster")
        source = max(files, key=lambda path: path.stat().st_size)
    try:
        return rasterio.open(source)
    except rasterio.errors.RasterioIOError as error:
        raise OSError(str(error)) from None


def geotiff(stored: NDArray[Any], legend: MaskLegend, source: Path) -> bytes:
    """A mask [height, width] as a GeoTIFF that covers what `source` covers, with colours and names of the classes."""
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    height, width = stored.shape
    with _opened(source) as file:
        scale = Affine.scale(file.width / width, file.height / height)
        crs, transform = file.crs, file.transform * scale
    profile = {"driver": "GTiff", "compress": "deflate", "count": 1, "dtype": stored.dtype.name}
    ignored = {"nodata": legend.ignored[0]} if legend.ignored and legend.ignored[0] < _SHADES else {}
    with MemoryFile() as memory:
        with memory.open(**profile, **ignored, height=height, width=width, crs=crs, transform=transform) as mask:
            mask.write(stored, 1)
            if stored.dtype == np.uint8:
                mask.write_colormap(1, {n: (*c, 255) for n, c in zip(legend.numbers, legend.colours, strict=True)})
            mask.update_tags(**{f"CLASS_{n}": name for n, name in zip(legend.numbers, legend.names, strict=True)})
        content: bytes = memory.read()
    return content


def paletted(stored: NDArray[Any], legend: MaskLegend) -> Image.Image:
    """A mask [height, width] as a picture whose palette shows the classes; of 16 bits without one."""
    if stored.dtype != np.uint8:
        return Image.fromarray(stored)
    palette = np.zeros((_SHADES, 3), np.uint8)
    for number, colour in zip(legend.numbers, legend.colours, strict=True):
        palette[number] = colour
    found = Image.frombytes("P", (stored.shape[1], stored.shape[0]), np.ascontiguousarray(stored).tobytes())
    found.putpalette(palette.ravel().tolist())
    return found
