"""`LaidLabels`: what lies over a scene and gives each pixel a class."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.cutting.scene import Window

NONE = 255  # in a mask: a pixel of no class
MOST_CLASSES = 255


class LaidLabels(Protocol):
    """Labels on the grid of a scene."""

    class_names: tuple[str, ...]
    notes: list[str]

    def mask(self, window: Window) -> NDArray[np.uint8]:
        """Class numbers [height, width], `NONE` where there is no label."""
        ...


def check_count(names: tuple[str, ...], where: str) -> None:
    """Masks hold class numbers in 8 bits.

    Raises:
        ValueError: there are too many classes, or none.
    """
    if not names:
        raise ValueError(f"{where} has no class")
    if len(names) > MOST_CLASSES:
        raise ValueError(
            f"{where} has {len(names):,} classes ({', '.join(names[:3])}, …), and a mask holds at most {MOST_CLASSES}: "
            "is this the field of classes?"
        )
