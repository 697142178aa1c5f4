"""`LaidLabels`: what lies over a scene and gives each pixel a class."""

from __future__ import annotations

from collections.abc import Sequence
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


class GivenNumbers:
    """Labels whose classes have the numbers that a list gives them, so that chips of several scenes go together.

    Args:
        labels: with numbers of their own.
        classes: all names, in the order of their numbers from 0 on.
        where: the labels, for messages.

    Raises:
        ValueError: the list names a class twice, or lacks one that the labels have.
    """

    def __init__(self, labels: LaidLabels, classes: Sequence[str], where: str) -> None:
        check_count(tuple(classes), "--classes")
        if len(set(classes)) < len(classes):
            raise ValueError(f"--classes names a class twice: {', '.join(classes)}")
        if unlisted := [name for name in labels.class_names if name not in classes]:
            raise ValueError(
                f"--classes ({', '.join(classes)}) lacks {', '.join(unlisted[:10])}, which {where} has: list all "
                "classes of all scenes"
            )
        self.labels, self.class_names, self.notes = labels, tuple(classes), labels.notes
        self._numbers = np.full(NONE + 1, NONE, np.uint8)
        self._numbers[: len(labels.class_names)] = [classes.index(name) for name in labels.class_names]

    def mask(self, window: Window) -> NDArray[np.uint8]:
        """See `LaidLabels`."""
        return self._numbers[self.labels.mask(window)]


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
