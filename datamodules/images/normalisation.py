"""Mean and standard deviation of each band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_MOST_IMAGES = 2000  # enough for three digits; more would only take time

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def band_statistics(
    read: Callable[[int], NDArray[np.uint8] | NDArray[np.float32]],
    indices: Sequence[int] | NDArray[np.int64],
    threads: int = 1,
) -> Statistics:
    """Mean and standard deviation of each band over all pixels, of values in 0…1.

    Args:
        read: index -> [height, width, channels], uint8 or floats in 0…1.
        indices: training images; of more than 2,000, as many taken evenly.
        threads: how many read images at the same time.

    Raises:
        ValueError: when a band is the same everywhere.
    """
    chosen = np.asarray(indices)
    if len(chosen) > _MOST_IMAGES:
        chosen = chosen[np.linspace(0, len(chosen) - 1, _MOST_IMAGES).astype(int)]

    def sums(index: int) -> NDArray[Any]:
        image = read(index)
        eight = image.dtype == np.uint8
        pixels = image.reshape(-1, image.shape[2]).astype(np.int64 if eight else np.float64) * (1 if eight else 255)
        return np.stack([np.full(pixels.shape[1], len(pixels)), pixels.sum(0), (pixels**2).sum(0)])

    with ThreadPoolExecutor(max(1, threads)) as pool:
        count, total, squares = np.sum(list(pool.map(sums, chosen.tolist())), axis=0)  # integers of 8 bits: exact
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    if not deviation.all():
        raise ValueError(
            f"band {int(np.argmin(deviation))} has the same value in all training images, so it cannot be normalised; "
            "set mean and std"
        )
    return tuple((mean / 255).tolist()), tuple((deviation / 255).tolist())


def channel_statistics(images: Tensor) -> Statistics:
    """The same for images in memory.

    Args:
        images: [n, channels, height, width], uint8.
    """
    stack = images.permute(0, 2, 3, 1).numpy()
    return band_statistics(lambda index: stack[index], range(len(stack)))
