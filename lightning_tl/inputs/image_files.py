"""Reading image files: what is stored is what is read, or the file is refused in words that say what to do."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lightning_tl.inputs.deep_png import is_deep_png, read_deep_png
from lightning_tl.inputs.tiff_files import UnfitImageError, is_tiff, read_tiff

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_STUBS = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF", "EPS", "PDF"}  # which Pillow knows, but does not decode by itself
_SIXTEEN_BITS = 16


@cache
def image_suffixes() -> frozenset[str]:
    """The endings of all files that Pillow reads here, such as `.jpg` and `.jp2`."""
    Image.init()
    return frozenset(
        suffix.lower()
        for suffix, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _STUBS
    )


def is_image(name: str) -> bool:
    """Whether a file's name tells that it is an image."""
    return Path(name).suffix.lower() in image_suffixes()


def read_image(path: Path | BinaryIO, channels: int = 3) -> NDArray[np.uint8]:
    """The pixels of an image file as 8 bits, see `read_pixels`.

    16-bit values are scaled from 0…65535 to 0…255; floats must be in 0…1.

    Returns:
        [height, width, channels].
    """
    pixels = read_pixels(path, channels)
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    numbers = pixels.astype(np.float64)
    top = 1.0 if pixels.dtype.kind == "f" else 65535.0
    low, high = float(numbers.min()), float(numbers.max())
    if not (low >= 0 and high <= top):
        name = path if isinstance(path, Path) else "the image"
        raise UnfitImageError(f"{name} has values from {low:g} to {high:g}; expected 0…{top:g}: scale the image first")
    return np.round(numbers * (255 / top)).astype(np.uint8)


def read_pixels(path: Path | BinaryIO, channels: int = 3, tiff: bool | None = None) -> NDArray[np.generic]:
    """Decode an image file, its values as they are stored: 8 bits, 16 bits or floats.

    Grey becomes RGB and the reverse; transparent pixels become black, as no-data pixels of a map are. The camera's
    orientation tag is obeyed. TIFF files may have any number of bands, of any order of storage.

    Args:
        path: of the file, or the open file.
        channels: bands of the result; what is no TIFF has 1 to 4: grey, grey with alpha, RGB, or RGB and a fourth band
            that is stored as alpha.
        tiff: whether it is a TIFF file; None to tell by its name.

    Returns:
        [height, width, channels].

    Raises:
        UnfitImageError: a sound file that does not hold what is asked for.
        OSError: a damaged file.
    """
    if isinstance(path, Path) and path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise OSError("no file, but a pipe, a device or a folder")
    if (is_tiff(path) if tiff is None else tiff) and (found := read_tiff(path, channels)) is not None:
        return found
    if not isinstance(path, Path):
        path.seek(0)  # where `read_tiff` began
    if channels not in _MODES:
        raise UnfitImageError(
            f"image files other than TIFF are read with 1 to 4 channels, but the backbone wants {channels}; "
            "write the bands into TIFF files, or override read_image of the data module to read them from elsewhere"
        )
    if channels >= 3 and is_deep_png(_first_bytes(path, 26)):
        return _deep_png(path, channels)
    try:
        with Image.open(path) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
    except Image.DecompressionBombError:
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise UnfitImageError(
            f"the image is too large: it has more than {2 * limit:,} pixels; cut it into tiles, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS where the file can be trusted"
        ) from None
    except UnidentifiedImageError:
        raise OSError("not an image that Pillow can read, or damaged at its beginning") from None
    if image.mode.startswith("I") or image.mode == "F":
        return _repeated(_single_band(np.asarray(image)), channels)
    if channels in (1, 3) and (image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    pixels = np.asarray(image.convert(_MODES[channels]))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _repeated(band: NDArray[Any], channels: int) -> NDArray[np.generic]:
    """One band as grey, or as RGB, and an even number of channels with an alpha that hides nothing."""
    full = np.iinfo(band.dtype).max if band.dtype.kind in "iu" else 1
    alpha = [np.full_like(band, full)] if channels % 2 == 0 else []
    return np.stack([*[band] * (channels - len(alpha)), *alpha], axis=2)


def _single_band(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """One band of 16-bit integers, which Pillow may hold in 32, or of floats."""
    if values.dtype.kind in "iu" and values.size and values.min() >= 0 and values.max() < 2**_SIXTEEN_BITS:
        return values.astype(np.uint16)
    return values


def _deep_png(path: Path | BinaryIO, channels: int) -> NDArray[np.generic]:
    pixels = read_deep_png(path.read_bytes() if isinstance(path, Path) else path.read())
    if pixels.shape[2] == 4 and channels == 3:  # over black, as with 8 bits
        values = pixels.astype(np.float64)
        return np.round(values[:, :, :3] * values[:, :, 3:] / 65535).astype(np.uint16)
    if pixels.shape[2] == 3 and channels == 4:
        return np.concatenate([pixels, np.full_like(pixels[:, :, :1], 65535)], axis=2)
    return pixels


def _first_bytes(path: Path | BinaryIO, count: int) -> bytes:
    if isinstance(path, Path):
        with path.open("rb") as file:
            return file.read(count)
    place = path.tell()
    head = path.read(count)
    path.seek(place)
    return head


__all__ = ["UnfitImageError", "image_suffixes", "is_image", "read_image", "read_pixels"]
