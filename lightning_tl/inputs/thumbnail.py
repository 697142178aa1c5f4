"""`thumbnail`: a small file that shows what a picture is, for people."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64  # pixels, of the longer side at most
MEDIA_TYPE = "image/webp"
_QUALITY = 80


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """A WebP file of a picture, no side longer than 64 pixels; one that is smaller keeps its size.

    Nothing else of the file that the picture came from is in it, such as a camera's notes.

    Args:
        pixels: [height, width, 3] RGB.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "WEBP", quality=_QUALITY)
    return file.getvalue()
