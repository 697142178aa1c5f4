"""The users of a world: who they are and what they truly like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.draws import Draws, pick
from datamodules.sets.streamrec.phrasing import FORMATS
from datamodules.sets.streamrec.settings import DAY_S, StreamRecSettings
from datamodules.sets.streamrec.vocabulary import CATEGORIES, TOPICS

AGE_BANDS = ("under 18", "18-24", "25-34", "35-49", "50 and over")
GENDERS = ("female", "male", "other")
COUNTRIES = ("BR", "DE", "FR", "IN", "JP", "NG", "US", "ZA")
_AGE_SHARES = (0.08, 0.24, 0.30, 0.24, 0.14)
_GENDER_SHARES = (0.48, 0.48, 0.04)
_COUNTRY_SHARES = (0.12, 0.10, 0.08, 0.22, 0.08, 0.08, 0.26, 0.06)
_ROOT_HALF = 0.7071067811865476


@dataclass(frozen=True)
class UserTruth:
    """What the simulator knows of users. Tastes are about standard normal; strengths are applied where they act.

    Args:
        ages: [users] places in `AGE_BANDS`.
        genders: [users] places in `GENDERS`.
        countries: [users] places in `COUNTRIES`.
        first_topics: [users, topics] taste for topics at the start of the period.
        last_topics: [users, topics] what it drifts towards.
        profile: [users, topics] what age band, gender and country add to it; it stays.
        first_styles: [users, styles] taste for styles at the start.
        last_styles: [users, styles] what it drifts towards.
        formats: [users, formats] taste for formats; it stays.
        joined: [users] seconds since 1970 in UTC.
    """

    ages: NDArray[np.int64]
    genders: NDArray[np.int64]
    countries: NDArray[np.int64]
    first_topics: NDArray[np.float64]
    last_topics: NDArray[np.float64]
    profile: NDArray[np.float64]
    first_styles: NDArray[np.float64]
    last_styles: NDArray[np.float64]
    formats: NDArray[np.float64]
    joined: NDArray[np.int64]


def draw_users(settings: StreamRecSettings, draws: Draws) -> UserTruth:
    """Users; half of them are there from the start, the others join during the first three quarters of the period."""
    count = settings.users
    ages = pick(np.array(_AGE_SHARES), draws.uniforms(count))
    genders = pick(np.array(_GENDER_SHARES), draws.uniforms(count))
    countries = pick(np.array(_COUNTRY_SHARES), draws.uniforms(count))
    profile = np.zeros((count, len(TOPICS)))
    for groups, names in ((ages, AGE_BANDS), (genders, GENDERS), (countries, COUNTRIES)):
        profile = profile + draws.normals(len(names), len(TOPICS))[groups]
    first_topics, last_topics = _topic_tastes(count, draws), _topic_tastes(count, draws)
    first_styles, last_styles = draws.normals(count, settings.styles), draws.normals(count, settings.styles)
    formats = draws.normals(count, len(FORMATS))
    late = draws.uniforms(count) < 0.5
    delay_s = draws.integers(settings.days * DAY_S * 3 // 4, count)
    joined = settings.start + np.where(late, delay_s, 0)
    return UserTruth(
        ages, genders, countries, first_topics, last_topics, profile, first_styles, last_styles, formats, joined
    )


def _topic_tastes(count: int, draws: Draws) -> NDArray[np.float64]:
    """[users, topics]: half of the variance is shared by the topics of a category."""
    category = np.array([CATEGORIES.index(topic.category) for topic in TOPICS])
    return (draws.normals(count, len(CATEGORIES))[:, category] + draws.normals(count, len(TOPICS))) * _ROOT_HALF
