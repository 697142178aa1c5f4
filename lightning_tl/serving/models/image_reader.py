"""`ImageReader`: the bytes of an image file to what a graph is fed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_tl.inputs.image_files import read_pixels
from lightning_tl.inputs.pixel_values import PixelValues
from lightning_tl.inputs.resizing import resized_pixels
from lightning_tl.inputs.tiff_files import UnfitImageError
from lightning_tl.serving.answering import BadInputError

MOST_PIXELS = 50_000_000
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class ImageReader:
    """Reads images as prediction on files does: orientation, transparency, bands, value range, size, normalisation.

    Args:
        reads: `image_size`, `channels`, `mean`, `std` and `value_range`, see `ImageSpec` and `PixelValues`; `resize` is
            "floats" where images of 8 bits are brought to their size as floats and not as bytes.
        most_pixels: of an image; a larger one is refused before it is decoded.
    """

    def __init__(self, reads: Mapping[str, Any], most_pixels: int = MOST_PIXELS) -> None:
        self.image_size, self.channels = int(reads["image_size"]), int(reads["channels"])
        self.values, self.most_pixels = PixelValues(reads.get("value_range")), most_pixels
        self.as_floats = reads.get("resize") == "floats"  # as images that lie in memory are
        self.mean = np.array(reads["mean"], np.float32).reshape(-1, 1, 1)
        self.std = np.array(reads["std"], np.float32).reshape(-1, 1, 1)

    def prepare(self, raw: bytes | str | tuple[str, str]) -> NDArray[np.float32]:
        """[channels, image_size, image_size], normalised.

        Raises:
            BadInputError: not the bytes of an image that the model can read.
        """
        if not isinstance(raw, bytes):
            raise BadInputError("the model reads images: send the bytes of an image file", 415)
        if not raw:
            raise BadInputError("the image is empty: 0 bytes", 400)
        self._check_head(raw)
        try:
            pixels = self.values(self._pixels(raw), self.channels)
        except UnfitImageError as error:
            raise BadInputError(str(error)) from None
        except MemoryError:
            raise BadInputError("the image is too large for the memory of this machine", 413) from None
        except Exception as error:  # decoders raise many types: OSError, SyntaxError, ValueError, struct.error …
            reason = str(error) or type(error).__name__
            raise BadInputError(f"the image cannot be read: {reason}", 422) from None
        if self.as_floats and pixels.dtype == np.uint8:
            pixels = pixels.astype(np.float32) / np.float32(255)
        found = resized_pixels(pixels, self.image_size).transpose(2, 0, 1)
        numbers = found.astype(np.float32)
        if found.dtype == np.uint8:
            numbers /= np.float32(255)
        ready: NDArray[np.float32] = (numbers - self.mean) / self.std
        return ready

    def _check_head(self, raw: bytes) -> None:
        """Refuse by its first bytes what is too large; what they do not tell, reading does."""
        if raw[:4] in _TIFF:
            return self._check_tiff(raw)
        try:
            with Image.open(io.BytesIO(raw)) as file:
                count = file.size[0] * file.size[1]
        except Image.DecompressionBombError:
            raise BadInputError(f"the image has more than the {self.most_pixels:,} pixels allowed", 413) from None
        except Exception:
            return
        self._check_count(count)

    def _check_tiff(self, raw: bytes) -> None:
        """The same of a TIFF file, whose bands Pillow need not know."""
        import tifffile

        try:
            with tifffile.TiffFile(io.BytesIO(raw)) as file:
                page: Any = file.pages[0]
                count, bands = int(page.imagewidth) * int(page.imagelength), int(page.samplesperpixel)
        except Exception:  # told where it is read
            return
        self._check_count(count * max(1, bands // (self.channels + 1)))

    def _check_count(self, count: int) -> None:
        if count > self.most_pixels:
            raise BadInputError(
                f"the image has {count:,} pixels, more than the {self.most_pixels:,} allowed: send it smaller", 413
            )

    def _pixels(self, raw: bytes) -> NDArray[Any]:
        return read_pixels(io.BytesIO(raw), self.channels, tiff=raw[:4] in _TIFF)

    def feeds(self, prepared: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """What the graph takes of a batch."""
        return {"inputs": np.stack(prepared)}
