"""Pictures of multi-band samples that people can look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COMPOSITES = {
    "true": (("red",), ("green",), ("blue",)),
    "false": (("nir", "nir08"), ("red",), ("green",)),  # vegetation is red
    "swir": (("swir22", "swir16"), ("nir", "nir08"), ("red",)),  # burnt and bare ground are red, vegetation is green
}
_SHARE = 2.0  # percent of the darkest and of the brightest values that are cut off
_LEAST_SPAN = 0.02  # of 0…1: an even field is shown as one, and not as its noise


def composite_channels(names: Sequence[str], kind: str) -> tuple[int, int, int] | None:
    """The channels that are shown as red, green and blue.

    Args:
        names: common names of the channels, or names.
        kind: "true", "false" (near infrared, red, green) or "swir".

    Returns:
        None where a band is lacking.

    Raises:
        ValueError: no such kind.
    """
    if kind not in COMPOSITES:
        raise ValueError(f"composite must be {', '.join(COMPOSITES)}, got '{kind}'")
    found = [next((list(names).index(name) for name in wanted if name in names), None) for wanted in COMPOSITES[kind]]
    if any(place is None for place in found):
        return None
    red, green, blue = (int(place) for place in found if place is not None)
    return red, green, blue


def stretched(planes: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """From the 2nd to the 98th percentile of all three as black to white, one stretch for all, so that hues stay.

    Args:
        planes: [height, width, 3].
        valid: [height, width], where there are data; the rest is black.
    """
    inside: NDArray[np.bool_] = np.asarray(np.isfinite(planes).all(axis=2)) if valid is None else valid
    if not inside.any():
        return np.zeros(planes.shape, np.uint8)
    low, high = np.percentile(planes[inside], [_SHARE, 100 - _SHARE])
    if high - low < _LEAST_SPAN:
        low, high = (low + high - _LEAST_SPAN) / 2, (low + high + _LEAST_SPAN) / 2
    shown = np.clip((planes - low) / (high - low), 0, 1)
    picture: NDArray[np.uint8] = np.where(inside[:, :, None], np.round(shown * 255), 0).astype(np.uint8)
    return picture
