"""Which images weights were pretrained on, told by what they show."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = "seen_images.npy"  # beside the weights
SEEN = "weights that saw the test: "  # how a note of it begins
_HEX = 16  # digits of a digest that are kept, 8 bytes


def seen_numbers(digests: Iterable[str]) -> NDArray[np.uint64]:
    """Digests of pixels as sorted numbers, each once.

    Args:
        digests: in hexadecimal, of 16 digits or more.
    """
    return np.unique(np.array([int(digest[:_HEX], 16) for digest in digests], np.uint64))


def write_seen(folder: Path, digests: Iterable[str]) -> None:
    """Note beside weights what they were trained on, 8 bytes an image."""
    np.save(folder / FILE, seen_numbers(digests))


def count_seen(folder: Path, digests: Iterable[str]) -> int | None:
    """How many images are among those that weights were trained on; None where nothing is noted beside them.

    Args:
        folder: of the weights.
        digests: of the images, which may repeat.
    """
    try:
        known = np.load(folder / FILE, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return count_among(known, digests)


def count_among(known: NDArray[np.uint64], digests: Iterable[str]) -> int:
    """How many images are among known ones.

    Args:
        known: from `seen_numbers`.
        digests: of the images, which may repeat.
    """
    asked = np.array([int(digest[:_HEX], 16) for digest in digests], np.uint64)
    return int(np.isin(asked, known).sum())
