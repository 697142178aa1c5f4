"""What can be said of a tile of the land-cover sample: what covers it, how much of it, and where it lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Kinds of land cover in words, with their IGBP codes.
KINDS = {
    "water": (0,),
    "forest": (1, 2, 3, 4, 5),
    "shrubland": (6, 7),
    "savanna": (8, 9),
    "grassland": (10,),
    "wetland": (11,),
    "cropland": (12, 14),
    "urban land": (13,),
    "snow and ice": (15,),
    "barren land": (16,),
}
WORDS = tuple(KINDS)
KIND_OF_CODE = np.zeros(17, np.int64)
for _number, _codes in enumerate(KINDS.values()):
    KIND_OF_CODE[list(_codes)] = _number
_AMOUNTS = ((0.9, "only"), (0.5, "mostly"), (0.2, "some"), (0.05, "a little"))  # from which share on which word is used
_ZONES = ((23.4, "the tropics"), (35.0, "the subtropics"), (66.6, "the temperate zone"), (90.0, "the polar zone"))


def captions_of(middle: NDArray[np.float64], whole: NDArray[np.float64], latitude: float) -> tuple[str, ...]:
    """Three captions of a tile: its middle, all of it, and its middle with its place.

    Args:
        middle: [kinds] share of the tile's middle that each of `WORDS` covers.
        whole: [kinds] the same of the whole tile.
        latitude: of its centre in degrees.
    """
    name = WORDS[int(middle.argmax())]
    return (
        f"a satellite image of {name}",
        f"a satellite image with {amounts(whole)}",
        f"a satellite image of {name} in {zone(latitude)}",
    )


def amounts(shares: NDArray[np.float64]) -> str:
    """Such as `mostly forest, some cropland and a little water`, the largest share first."""
    told = []
    for number in np.argsort(-shares, kind="stable").tolist():
        word = next((word for least, word in _AMOUNTS if shares[number] >= least), None)
        if word is not None:
            told.append(f"{word} {WORDS[number]}")
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def zone(latitude: float) -> str:
    """Such as `the tropics south of the equator`."""
    name = next(words for end, words in _ZONES if abs(latitude) <= end)
    return f"{name} {'north' if latitude >= 0 else 'south'} of the equator"
