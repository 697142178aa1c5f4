"""Reading one mask, and the size of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lightning_tl.inputs.tiff_files import UnfitImageError, is_tiff

_PLAIN = ("1", "L", "P", "I", "F")


def read_mask(path: Path) -> NDArray[np.int64]:
    """The numbers of a mask file as they are stored: [height, width].

    A palette only gives them colours: the numbers count.

    Raises:
        UnfitImageError: a sound file that is no picture of whole numbers from 0 to 65535.
        OSError: a damaged file.
    """
    values = _of_tiff(path) if is_tiff(path) else None
    if values is None:
        values = _of_pillow(path)
    if values.dtype.kind == "f":
        whole = np.where(np.isfinite(values), values, -1)
        if (whole != np.round(whole)).any():
            raise UnfitImageError("it has values with a fraction, and masks hold class numbers: round them")
        values = whole
    values = values.astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise UnfitImageError(
            f"it has values from {values.min()} to {values.max()}, and masks hold class numbers in 0…65535: write "
            "pixels without a class as 255"
        )
    return values


def _of_tiff(path: Path) -> NDArray[Any] | None:
    """Its one band; None for what Pillow reads right."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            pages: list[Any] = [each for each in file.pages if not int(getattr(each, "subfiletype", 0) or 0) & 5]
            page, bands = pages[0], int(pages[0].samplesperpixel)  # overviews and masks of a page are none
            if len(pages) > 1:
                raise UnfitImageError(
                    f"it has {len(pages)} pages, and a mask is one: write each into a file of its own"
                )
            if bands > 1:
                raise UnfitImageError(_colours(f"{bands} bands"))
            if int(page.bitspersample) == 8 and page.dtype is not None and page.dtype.kind == "u":
                return None
            found: NDArray[Any] = np.asarray(page.asarray())
            return found.reshape(found.shape[-2:]) if found.ndim > 2 else found
    except tifffile.TiffFileError as error:
        raise OSError(f"no TIFF file: {error}") from None
    except (ValueError, RuntimeError, ImportError, KeyError, IndexError) as error:
        if isinstance(error, UnfitImageError):
            raise
        raise OSError(f"cannot be decoded: {str(error).splitlines()[0] or type(error).__name__}") from None


def _of_pillow(path: Path) -> NDArray[Any]:
    try:
        with Image.open(path) as file:
            file.load()
            if file.mode not in _PLAIN and not file.mode.startswith("I;"):
                raise UnfitImageError(_colours(f"mode {file.mode}"))
            return np.asarray(file)
    except UnidentifiedImageError:
        raise OSError("not an image that Pillow can read, or damaged at its beginning") from None


def _colours(what: str) -> str:
    return (
        f"it is a picture of colours ({what}), and a mask holds one class number for each pixel: write the numbers "
        "instead, as a grey or palette PNG, or a TIFF of one band"
    )


def image_frame(path: Path) -> tuple[int, int]:
    """Height and width of an image file, which is not decoded.

    Raises:
        OSError: it cannot be read.
    """
    if is_tiff(path):
        import tifffile

        try:
            with tifffile.TiffFile(path) as file:
                page: Any = file.pages[0]
                return int(page.imagelength), int(page.imagewidth)
        except (tifffile.TiffFileError, IndexError) as error:
            raise OSError(f"no TIFF file: {error}") from None
    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(0x0112, 1) >= 5  # the camera's orientation tag
            width, height = picture.size
    except UnidentifiedImageError:
        raise OSError("not an image that Pillow can read, or damaged at its beginning") from None
    return (width, height) if turned else (height, width)
