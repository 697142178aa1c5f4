"""How the appeal of an item rises and fades."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.settings import DAY_S, StreamRecSettings


def appeal_share(
    settings: StreamRecSettings, age_s: NDArray[np.int64], evergreen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Which share of its full appeal an item has, in [0, 1): 0 before its release.

    It rises as age / (age + rise) and falls as 1 / (1 + (age / fade)^2) down to the floor; evergreen items do not fall.

    Args:
        settings: say how fast appeal rises and fades, and to which floor.
        age_s: [...] seconds since release, below 0 for what is not out yet.
        evergreen: broadcasts to the same shape.
    """
    days = np.maximum(age_s, 0) / float(DAY_S)
    rise = days / (days + settings.rise_days)
    ratio = days / settings.fade_days
    fade = settings.fade_floor + (1 - settings.fade_floor) / (1 + ratio * ratio)
    return np.asarray(rise * np.where(evergreen, 1.0, fade))
