"""The items of a world: what they are truly like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.draws import Draws, pick
from datamodules.sets.streamrec.growth import growth
from datamodules.sets.streamrec.phrasing import FORMATS
from datamodules.sets.streamrec.settings import DAY_S, StreamRecSettings
from datamodules.sets.streamrec.vocabulary import TOPICS

_TOPIC_SPREAD = 0.4  # how far topics differ in their number of items
_OLDEST_DAYS = 365  # items of before the period were released within this time


@dataclass(frozen=True)
class ItemTruth:
    """What the simulator knows of items, beyond what it shows.

    Args:
        topics: [items] places in `TOPICS`; told by the text.
        formats: [items] places in `FORMATS`; told by the text.
        styles: [items, styles] about standard normal, independent of the text; a little of it is in the thumbnail.
        appeals: [items] full appeal, above 0.
        evergreen: [items] whether appeal does not fade.
        released: [items] seconds since 1970 in UTC.
    """

    topics: NDArray[np.int64]
    formats: NDArray[np.int64]
    styles: NDArray[np.float64]
    appeals: NDArray[np.float64]
    evergreen: NDArray[np.bool_]
    released: NDArray[np.int64]


def draw_items(settings: StreamRecSettings, draws: Draws) -> ItemTruth:
    """Items whose topic, format, style, appeal and release are independent of each other."""
    count = settings.items
    sizes = growth(_TOPIC_SPREAD * draws.normals(len(TOPICS)))
    topics = pick(sizes, draws.uniforms(count))
    formats = draws.integers(len(FORMATS), count)
    styles = draws.normals(count, settings.styles)
    appeals = growth(settings.appeal_spread * draws.normals(count))
    evergreen = draws.uniforms(count) < settings.evergreen_share
    early = draws.uniforms(count) < settings.early_share
    age_s = draws.integers(_OLDEST_DAYS * DAY_S, count)
    delay_s = draws.integers(settings.days * DAY_S, count)
    released = settings.start + np.where(early, -1 - age_s, delay_s)
    # A world needs something to open at its beginning, whatever the shares are.
    released[0] = settings.start - 1
    return ItemTruth(topics, formats, styles, appeals, evergreen, released)
