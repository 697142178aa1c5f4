"""New values against those that a model was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.band_reading import BandReading

_MOST = 0.5  # of the values that may lie on one side of what training images had; in training 2% do


def unlike_values(pixels: NDArray[np.float32], reading: BandReading, what: str) -> list[str]:
    """A line where most values of some channels lie below or above those of the training images.

    Another offset or scale of stored values shows so, which nothing else tells; snow, smoke or another season do too.

    Args:
        pixels: [n, channels] in 0…1, with data.
        reading: of the run, which keeps the 2nd and the 98th percentile of its training images.
        what: has these values, for the line.
    """
    if not len(pixels) or not reading.shown:
        return []
    told = []
    for k, (name, (low, high), (dark, bright)) in enumerate(
        zip(reading.channels, reading.ranges, reading.shown, strict=True)
    ):
        values = pixels[:, k]
        below, above = float((values < dark).mean()), float((values > bright).mean())
        if max(below, above) > _MOST:
            ends = [low + float(end) * (high - low) for end in (np.median(values), dark, bright)]
            told.append(f"{name} around {ends[0]:.4g} (in training {ends[1]:.4g} to {ends[2]:.4g})")
    if not told:
        return []
    return [
        f"{what} has other values than the training images had, so that classes may be wrong: {', '.join(told)}. Where "
        "its stored values have another offset or scale, say so with --data.add_offset or --data.scale"
    ]
