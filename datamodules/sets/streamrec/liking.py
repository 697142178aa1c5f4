"""How much a user likes an item, and the chance that it is completed once it is opened."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.growth import growth
from datamodules.sets.streamrec.match import match
from datamodules.sets.streamrec.settings import StreamRecSettings
from datamodules.sets.streamrec.tastes import Tastes

_RELUCTANCE = 1.0  # odds of completing what suits a user neither well nor badly: e^-1, a chance of 27%


def liking_of_each(
    tastes: Tastes, topics: NDArray[np.int64], formats: NDArray[np.int64], styles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[rows] how each row's user likes the item of the same row: topic, format and style together.

    Args:
        tastes: of [rows] users.
        topics: [rows] of the items.
        formats: [rows] likewise.
        styles: [rows, styles] likewise.
    """
    rows = np.arange(len(topics))
    return tastes.topics[rows, topics] + tastes.formats[rows, formats] + match(tastes.styles, styles)


def liking_within(tastes: Tastes, formats: NDArray[np.int64], styles: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows, items] how each user likes each item, apart from its topic.

    Args:
        tastes: of [rows] users.
        formats: [items].
        styles: [items, styles].
    """
    return tastes.formats[:, formats] + match(tastes.styles[:, None, :], styles[None])


def completion_chance(settings: StreamRecSettings, liking: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic in the liking, topic included; any shape."""
    odds = growth(settings.completion_strength * liking - _RELUCTANCE)
    return odds / (1 + odds)
