"""The size that a vision model reads, without torch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_tl.inputs.pixel_values import Pixels

_MOST_BITS, _SIXTEEN = 22, 1 << 15


def resized_pixels(pixels: Pixels, image_size: int) -> Pixels:
    """Bring the shorter side to `image_size` (bicubic, antialiased) and cut out the centre.

    What training and prediction do with tensors: of 8 bits the same bits, by torch's own whole-number arithmetic; of
    floats the same to rounding.

    Args:
        pixels: [height, width, channels] uint8, or float32 in 0…1.
        image_size: in pixels.

    Returns:
        [image_size, image_size, channels] of the same kind.
    """
    height, width = pixels.shape[:2]
    if height == width == image_size:
        return pixels
    scale = image_size / min(height, width)
    size = (max(image_size, round(height * scale)), max(image_size, round(width * scale)))
    if size != (height, width):
        pixels = _of_bytes(pixels, size) if pixels.dtype == np.uint8 else _of_floats(pixels, size)
    top, left = (size[0] - image_size) // 2, (size[1] - image_size) // 2
    return pixels[top : top + image_size, left : left + image_size]


def _of_floats(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.float32]:
    bands = [Image.fromarray(np.ascontiguousarray(pixels[:, :, band])) for band in range(pixels.shape[2])]
    found = [np.asarray(band.resize((size[1], size[0]), Image.Resampling.BICUBIC)) for band in bands]
    return np.stack(found, axis=2).clip(0, 1)


def _of_bytes(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Along the width, then along the height, rounded to bytes after each, as Pillow and torch do."""
    found = np.ascontiguousarray(pixels, np.uint8)
    if size[1] != found.shape[1]:
        found = _rows(found.transpose(1, 0, 2), size[1]).transpose(1, 0, 2)
    return _rows(found, size[0]) if size[0] != found.shape[0] else found


def _rows(pixels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """[rows, …] to [count, …]."""
    places, weights, bits = _taps(len(pixels), count)
    total = np.full((count, *pixels.shape[1:]), 1 << (bits - 1), np.int32)
    for tap in range(weights.shape[1]):
        total += weights[:, tap, None, None] * pixels[places[:, tap]]
    return (total >> bits).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=256)
def _taps(length: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """Which rows make each new one, [count, taps]; their weights in whole numbers; and the bits to shift by.

    A cubic filter (Keys 1981, with a = -0.5), as wide as the new rows are apart, cut off at the ends.
    """
    scale = length / count
    wide = max(scale, 1.0)
    centres = scale * (np.arange(count) + 0.5)
    first = np.maximum((centres - 2 * wide + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + 2 * wide + 0.5).astype(np.int64), length)
    places = first[:, None] + np.arange(int((last - first).max()))
    away = np.abs((places + 0.5 - centres[:, None]) / wide)
    near = ((1.5 * away - 2.5) * away) * away + 1
    weights = np.where(away < 1, near, np.where(away < 2, ((-0.5 * away + 2.5) * away - 4) * away + 2, 0.0))
    weights[places >= last[:, None]] = 0
    weights /= weights.sum(1, keepdims=True)
    bits = next(
        k for k in range(_MOST_BITS + 1) if k == _MOST_BITS or int(0.5 + weights.max() * 2 ** (k + 1)) >= _SIXTEEN
    )
    whole = np.trunc(weights * 2**bits + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    return np.minimum(places, length - 1), whole, bits
