"""What users like at a given time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.settings import DAY_S, StreamRecSettings
from datamodules.sets.streamrec.users import UserTruth


@dataclass(frozen=True)
class Tastes:
    """The tastes of some users at some times, strengths included: exponents of `growth`.

    Args:
        topics: [rows, topics].
        styles: [rows, styles]; meets the style of an item in `match`.
        formats: [rows, formats].
    """

    topics: NDArray[np.float64]
    styles: NDArray[np.float64]
    formats: NDArray[np.float64]

    def of(self, rows: NDArray[np.int64]) -> Tastes:
        """Some of the rows."""
        return Tastes(self.topics[rows], self.styles[rows], self.formats[rows])


def tastes_at(
    settings: StreamRecSettings, truth: UserTruth, users: NDArray[np.int64], times: NDArray[np.int64]
) -> Tastes:
    """Tastes on their way from the first to the last ones, of the same variance all the time.

    Args:
        settings: say when the period begins and how long it is.
        truth: first and last tastes of all users.
        users: [rows] numbers of users.
        times: [rows] seconds since 1970 in UTC; beyond the period tastes stand still.
    """
    passed = np.clip((times - settings.start) / float(settings.days * DAY_S), 0.0, 1.0)
    new = (settings.drift * passed)[:, None]
    old = 1 - new
    length = np.sqrt(old * old + new * new)
    topics = (old * truth.first_topics[users] + new * truth.last_topics[users]) / length
    styles = (old * truth.first_styles[users] + new * truth.last_styles[users]) / length
    return Tastes(
        topics=settings.topic_strength * topics + settings.profile_strength * truth.profile[users],
        styles=settings.style_strength * styles,
        formats=settings.format_strength * truth.formats[users],
    )
