"""TIFF files: which of them hold what a backbone reads, whatever Pillow makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_ALPHA = (1, 2)  # values of ExtraSamples: with the colours multiplied by it, and without
_PLAIN = {"MINISBLACK", "RGB"}  # values are brightnesses; other kinds are converted by Pillow


class UnfitImageError(ValueError):
    """A sound file that does not hold what is asked for; the text says what to do."""


def is_tiff(path: Path | BinaryIO) -> bool:
    """Whether it is a TIFF file, by its name; open files are left to Pillow."""
    return isinstance(path, Path) and path.suffix.lower() in (".tif", ".tiff")


def read_tiff(path: Path | BinaryIO, channels: int) -> NDArray[np.generic] | None:
    """The bands of a TIFF file as they are stored: [height, width, channels]; None for those that Pillow reads right.

    Raises:
        UnfitImageError: several pages, another number of bands, or a fourth band that is not marked as alpha.
        OSError: a damaged file, or one whose compression cannot be read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            pages = [page for page in file.pages if not _is_small_copy(page)]
            page: Any = pages[0]
            if len(pages) > 1:
                raise UnfitImageError(
                    f"the file has {len(pages)} pages, and one image is wanted: bands belong into one page, as samples "
                    "of each pixel (tifffile: planarconfig='contig'); or override read_image of the data module"
                )
            bands, bits = int(page.samplesperpixel), int(page.bitspersample)
            extra = tuple(int(value) for value in page.extrasamples)
            alpha = bool(extra) and extra[-1] in _ALPHA and len(extra) == bands - _colours(page)
            kind = page.photometric.name
            _check_bands(bands, channels, alpha, kind)
            by_pillow = bits == 8 and bands <= 4 and page.planarconfig.name == "CONTIG" and not (alpha and bands == 4)
            if kind not in _PLAIN or (by_pillow and channels <= 4 and not (bands == channels and bands in (2, 4))):
                return None
            return _selected(_decoded(page, bits), channels, alpha, extra)
    except tifffile.TiffFileError as error:
        raise OSError(f"no TIFF file: {error}") from None
    except (ValueError, RuntimeError, ImportError, KeyError, IndexError) as error:
        if isinstance(error, UnfitImageError):
            raise
        raise OSError(
            f"cannot be decoded: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from None


def _is_small_copy(page: Any) -> bool:
    """An overview or a mask of another page."""
    return bool(int(getattr(page, "subfiletype", 0) or 0) & 5)


def _colours(page: Any) -> int:
    return {"RGB": 3, "MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1}.get(page.photometric.name, 3)


def _check_bands(bands: int, channels: int, alpha: bool, kind: str) -> None:
    if bands == channels or kind not in _PLAIN:
        return
    colours = bands - 1 if alpha else bands
    if colours in (1, 3) and channels <= 4:
        return
    marked = ", the last not marked as alpha," if bands in (2, 4) and not alpha else ""
    raise UnfitImageError(
        f"the file has {bands} bands{marked} and the backbone takes {channels}: set the backbone's channels to "
        f"{bands}, or choose bands in read_image of a data module of your own"
    )


def _decoded(page: Any, bits: int) -> NDArray[np.generic]:
    """[height, width, bands]."""
    try:
        found: NDArray[np.generic] = page.asarray()
    except (ValueError, RuntimeError, ImportError) as error:
        if "imagecodecs" in str(error):
            raise OSError(
                f"{bits}-bit values packed with {page.compression.name} need the package imagecodecs: install it with "
                "python -m pip install imagecodecs, or write the file without compression"
            ) from None
        raise
    if found.ndim == 2:
        return found[:, :, None]
    return np.moveaxis(found, 0, 2) if page.planarconfig.name == "SEPARATE" else found


def _selected(pixels: NDArray[Any], channels: int, alpha: bool, extra: tuple[int, ...]) -> NDArray[np.generic]:
    """The bands as so many channels; what is transparent becomes black."""
    bands = pixels.shape[2]
    if bands == channels:
        return pixels
    if alpha and channels in (1, 3):
        cover = pixels[:, :, -1:]
        pixels = pixels[:, :, :-1]
        if extra[-1] == 2:  # colours that are not multiplied by it yet
            top = np.iinfo(cover.dtype).max if cover.dtype.kind in "iu" else 1.0
            shown = pixels * (cover.astype(np.float64) / top)
            pixels = (np.round(shown) if cover.dtype.kind in "iu" else shown).astype(cover.dtype)
    if pixels.shape[2] == channels:
        return pixels
    if pixels.shape[2] == 1 and channels > 2:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == channels:
        return pixels
    if pixels.shape[2] == 3 and channels < 3:
        grey = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as Pillow
        one: NDArray[Any] = (np.round(grey) if pixels.dtype.kind in "iu" else grey).astype(pixels.dtype)
        pixels = one[:, :, None]
        if channels == 1:
            return pixels
    opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    with_cover: NDArray[np.generic] = np.concatenate([pixels, np.full_like(pixels[:, :, :1], opaque)], axis=2)
    return with_cover
