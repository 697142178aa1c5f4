"""PNG files of 16 bits for each of several bands, of which Pillow would drop half."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HALVES = ("16B", "16L")  # the first byte of each value is kept, or the second one
_COLOURS = {2: "RGB", 6: "RGBA"}  # by the colour type of a PNG
_HEAD = 26  # bytes, up to the colour type


def is_deep_png(head: bytes) -> bool:
    """Whether a file begins as a PNG with 16 bits for each of 3 or 4 bands."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= _HEAD and head[24] == 16 and head[25] in _COLOURS


def read_deep_png(data: bytes) -> NDArray[np.uint16]:
    """[height, width, bands], decoded twice by Pillow: once for each half of the values.

    Raises:
        OSError: a damaged file.
    """
    mode = _COLOURS[data[25]]
    high, low = (_half(data, mode, half).astype(np.uint16) for half in _HALVES)
    found: NDArray[np.uint16] = (high << 8 | low).astype(np.uint16)
    return found


def _half(data: bytes, mode: str, half: str) -> NDArray[Any]:
    with Image.open(BytesIO(data)) as file:
        tiles: list[Any] = list(file.tile)
        file.tile = [type(tile)(*tile[:3], _packed(tile[3], f"{mode};{half}")) for tile in tiles]
        file.load()
        found = np.asarray(file)
    if found.ndim != 3:
        raise OSError("a PNG of 16 bits that cannot be decoded")
    return found


def _packed(given: Any, raw: str) -> Any:
    """A decoder's arguments with another order of bytes."""
    return (raw, *given[1:]) if isinstance(given, tuple) else raw
