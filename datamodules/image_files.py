"""Reading image files: every mode to 8-bit channels, and finding the broken ones before training starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm.auto import tqdm

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_PROGRESS_FROM = 2000  # files; fewer are checked in a moment


def read_image(path: Path | BinaryIO, channels: int = 3) -> NDArray[np.uint8]:
    """Decode an image file.

    Grey becomes RGB and the reverse; transparent pixels become black, as no-data pixels of a map are; 16-bit grey is
    scaled from 0…65535 to 0…255, never cut off; float images must hold 0…1. The camera's orientation tag is obeyed.

    Args:
        path: of the file, or the open file.
        channels: 1 to 4: grey, grey with alpha, RGB, or RGB and a fourth band that is stored as alpha.

    Returns:
        [height, width, channels].
    """
    if channels not in _MODES:
        raise ValueError(
            f"image files are read with 1 to 4 channels, but the backbone wants {channels}; "
            "override read_image of the data module to read them from elsewhere"
        )
    with Image.open(path) as file:
        file.load()
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image), path))
    if channels in (1, 3) and (image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    pixels = np.asarray(image.convert(_MODES[channels]))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _eight_bits(values: NDArray[np.generic], path: Path | BinaryIO) -> NDArray[np.uint8]:
    """One band of 16-bit integers or floats to 8 bits, without cutting anything off."""
    numbers = values.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not (low >= 0 and high <= top):
        name = path if isinstance(path, Path) else "the image"
        raise ValueError(f"{name} has values from {low:g} to {high:g}; expected 0…{top:g}: scale the image first")
    return np.round(numbers * (255 / top)).astype(np.uint8)


def broken_images(
    read: Callable[[int], object], indices: Sequence[int], threads: int, progress: bool = True
) -> dict[int, str]:
    """Read every image and say which cannot be read: index -> why.

    Args:
        read: reads the image of an index; called from several threads (Pillow decodes outside Python's lock).
        progress: show a bar where there are many.
    """

    def reason(index: int) -> str | None:
        try:
            read(index)
        except Exception as error:  # decoders raise many types: OSError, SyntaxError, ValueError, struct.error …
            return str(error) or type(error).__name__
        return None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        hidden = not progress or len(indices) < _PROGRESS_FROM
        reasons = pool.map(reason, indices)
        bar = tqdm(reasons, total=len(indices), desc="Checking images", unit=" images", disable=hidden)
        return {index: why for index, why in zip(indices, bar, strict=True) if why is not None}
