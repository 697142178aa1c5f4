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
SHOWN_PERCENTILES = (2.0, 98.0)  # of values, that become black and white
_LEAST_SPAN = 0.02  # of 0…1: an even field is shown as one, and not as its noise
_MOST_CUT = 0.6  # share of a picture that may be black or white by ends that are not its own


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


def stretched(
    planes: NDArray[np.float32],
    valid: NDArray[np.bool_] | None = None,
    ends: Sequence[tuple[float, float]] | None = None,
) -> NDArray[np.uint8]:
    """Three channels as red, green and blue.

    Args:
        planes: [height, width, 3].
        valid: [height, width], where there are data; the rest is black.
        ends: black and white of each channel, so that pictures can be compared and haze takes no part; where they cut
            off most of the picture, or without them, the 2nd and the 98th percentile of all three channels together.
    """
    inside: NDArray[np.bool_] = np.asarray(np.isfinite(planes).all(axis=2)) if valid is None else valid
    if not inside.any():
        return np.zeros(planes.shape, np.uint8)
    values = planes[inside]
    shown = _between(values, ends) if ends is not None else None
    if shown is None or ((shown <= 0) | (shown >= 1)).mean() > _MOST_CUT:
        low, high = np.percentile(values, SHOWN_PERCENTILES)
        shown = _between(values, [(float(low), float(high))] * 3)
    picture = np.zeros(planes.shape, np.uint8)
    picture[inside] = np.round(shown * 255)
    return picture


def _between(values: NDArray[np.float32], ends: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """[pixels, 3] in 0…1; ends that lie close together are moved apart around their middle."""
    low, high = np.array(ends, np.float64).T
    more = np.maximum(_LEAST_SPAN - (high - low), 0) / 2
    low, high = low - more, high + more
    found: NDArray[np.float64] = np.clip((values - low) / (high - low), 0, 1)
    return found
