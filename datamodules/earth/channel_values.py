"""Value ranges, means and deviations of channels, from the training rasters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.band_reading import Chip, Range

_MOST_RASTERS, _MOST_PIXELS = 300, 2000  # for percentiles: of so many rasters so many pixels each
_MOST_CHIPS = 2000  # for means and deviations
_PERCENTILES = (0.5, 99.5)  # that become 0 and 1 where the range is the data's
LITTLE = 0.05  # of its range, below which a channel is nearly one grey
_MUCH = 0.02  # of the values outside of the range

Physical = Callable[[Path], tuple[NDArray[Any], NDArray[np.bool_]]]


def sampled_values(physical: Physical, paths: Sequence[Path], threads: int = 1) -> NDArray[np.float32]:
    """[values, channels] of pixels with data, taken evenly from as many rasters taken evenly.

    Args:
        physical: path -> [channels, height, width] and where there are data.
        paths: of the training rasters.
        threads: how many read at the same time.
    """

    def some(path: Path) -> NDArray[np.float32]:
        values, valid = physical(path)
        inside = values[:, valid].T  # [pixels, channels]
        step = max(1, len(inside) // _MOST_PIXELS)
        return inside[::step].astype(np.float32)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        return np.concatenate(list(pool.map(some, _evenly(paths, _MOST_RASTERS))))


def completed_ranges(
    ranges: Sequence[Range | None], values: NDArray[np.float32], names: Sequence[str]
) -> tuple[tuple[Range, ...], list[str]]:
    """The ranges, where None the 0.5th to the 99.5th percentile, and what to tell of them.

    Args:
        ranges: by channel.
        values: [values, channels] from `sampled_values`.
        names: of the channels.

    Raises:
        ValueError: no value has data, or a channel whose range is asked for shows nothing.
    """
    if not len(values):
        raise ValueError("no training image has a pixel with data in every band")
    found, notes, made = [], [], []
    for k, (name, given) in enumerate(zip(names, ranges, strict=True)):
        low, high = (float(value) for value in np.percentile(values[:, k].astype(np.float64), _PERCENTILES))
        if given is None:
            if low == high:
                raise ValueError(f"{name} is {low:g} in nearly all training images: it shows nothing; leave it out")
            found.append((low, high))
            made.append(f"{name} {low:.4g}…{high:.4g}")
            continue
        found.append(given)
        if high - low < LITTLE * (given[1] - given[0]):
            share = (high - low) / (given[1] - given[0])
            notes.append(
                f"{name} has values from {low:.4g} to {high:.4g}, {share:.2%} of its range {given[0]:g}…{given[1]:g}, "
                "and is nearly one grey; value_range: data takes the ranges from the training images"
            )
        outside = float(((values[:, k] < given[0]) | (values[:, k] > given[1])).mean())
        if outside > _MUCH:
            notes.append(
                f"{outside:.1%} of the values of {name} lie outside {given[0]:g}…{given[1]:g} and become its ends"
            )
    if made:
        notes.append(f"value ranges are percentiles 0.5 to 99.5 of the training images: {', '.join(made)}")
    return tuple(found), notes


def chip_statistics(
    read: Callable[[Path], Chip], paths: Sequence[Path], names: Sequence[str], threads: int = 1
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels with data, of values in 0…1.

    Args:
        read: path -> pixels in 0…1, and where there are data.
        paths: of the training rasters; of more than 2,000, as many taken evenly.
        names: of the channels.
        threads: how many read at the same time.

    Raises:
        ValueError: a channel is the same everywhere.
    """

    def sums(path: Path) -> NDArray[np.float64]:
        chip = read(path)
        inside = chip.pixels[chip.valid].astype(np.float64)
        return np.stack([np.full(inside.shape[1], len(inside)), inside.sum(0), (inside**2).sum(0)])

    with ThreadPoolExecutor(max(1, threads)) as pool:
        count, total, squares = np.sum(list(pool.map(sums, _evenly(paths, _MOST_CHIPS))), axis=0)
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    flat = [name for name, value in zip(names, deviation, strict=True) if not value > 1e-8]
    if flat:
        raise ValueError(
            f"{', '.join(flat)} has the same value in all training images, so it cannot be normalised: leave it "
            "out of bands and indices, set mean and std, or give a range if its values lie outside of the one it has"
        )
    return tuple(mean.tolist()), tuple(deviation.tolist())


def _evenly(paths: Sequence[Path], most: int) -> list[Path]:
    if len(paths) <= most:
        return list(paths)
    return [paths[int(k)] for k in np.linspace(0, len(paths) - 1, most)]
