"""The true ranking: what a user will complete next, as far as it can be known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.sets.streamrec.appeal import appeal_share
from datamodules.sets.streamrec.events import taste_weights
from datamodules.sets.streamrec.growth import growth
from datamodules.sets.streamrec.liking import completion_chance, liking_within
from datamodules.sets.streamrec.simulator import StreamRec
from datamodules.sets.streamrec.tastes import Tastes, tastes_at

_ROWS_AT_ONCE = 256


def oracle_scores(world: StreamRec, users: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability that an opening of this user at this time is a completed one of each item.

    Divided by the sum of its row, it is the probability that what the user completes at that time is this item. It is
    exact: it knows the tastes at that time, everything about the items, and what the user opened strictly before; it
    does not know the draws to come. No model can rank better on average.

    Args:
        world: whose truth is read, which no model is given.
        users: [queries] rows of `world.users`.
        times: [queries] seconds since 1970 in UTC.

    Returns:
        [queries, items], columns in the order of `world.items`; 0 for what is not released.

    Raises:
        ValueError: for numbers that are no users, or users and times of different lengths.
    """
    users, times = _checked(world, users, times)
    scores = _in_parts(world, users, times, _completed_openings)
    rows_seen, items_seen = _opened_before(world, users, times)
    scores[rows_seen, items_seen] *= world.settings.rewatch
    return scores


def text_scores(world: StreamRec, users: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """What remains of the true ranking when only topics and formats are known, which is all that texts tell.

    The tastes for them at that time and the release dates are known exactly, styles and appeal are not: all items of
    one topic and format score the same, as if each had the average style and appeal. Arguments and result are as for
    `oracle_scores`.
    """
    users, times = _checked(world, users, times)
    return _in_parts(world, users, times, _text_alone)


def _in_parts(
    world: StreamRec,
    users: NDArray[np.int64],
    times: NDArray[np.int64],
    score: Callable[[StreamRec, Tastes, NDArray[np.int64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """[queries, items] the scores of a few queries at a time, so that only the result needs much memory."""
    scores = np.empty((len(users), len(world.items)))
    for start in range(0, len(users), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        tastes = tastes_at(world.settings, world.user_truth, users[rows], times[rows])
        scores[rows] = score(world, tastes, times[rows])
    return scores


def _text_alone(world: StreamRec, tastes: Tastes, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """[rows, items] in proportion to the chance of an opening by taste that is completed, styles and appeals apart."""
    truth = world.item_truth
    liking = tastes.topics[:, truth.topics] + tastes.formats[:, truth.formats]
    released = times[:, None] >= truth.released
    return np.asarray(growth(liking) * completion_chance(world.settings, liking) * released)


def _completed_openings(world: StreamRec, tastes: Tastes, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """[rows, items] chance that an opening is a completed one of each item, had the user opened nothing before."""
    settings, truth = world.settings, world.item_truth
    age_s = times[:, None] - truth.released
    popular = truth.appeals / truth.appeals.sum() * appeal_share(settings, age_s, truth.evergreen)
    anywhere = (age_s >= 0) / settings.items
    chosen = growth(tastes.topics)
    chosen = chosen / chosen.sum(axis=1, keepdims=True)
    by_taste = np.zeros(age_s.shape)
    for topic in range(chosen.shape[1]):
        members = np.flatnonzero(truth.topics == topic)
        weights = taste_weights(settings, truth, members, tastes, times)
        total = weights.sum(axis=1, keepdims=True)
        by_taste[:, members] = chosen[:, topic, None] * weights / np.where(total > 0, total, 1)
    by_taste_share = 1 - settings.popular_share - settings.random_share
    opened = by_taste_share * by_taste + settings.popular_share * popular + settings.random_share * anywhere
    liking = tastes.topics[:, truth.topics] + liking_within(tastes, truth.formats, truth.styles)
    return np.asarray(opened * completion_chance(settings, liking))


def _opened_before(
    world: StreamRec, users: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What the users of queries had opened strictly before: row of the query, and item; each pair once."""
    span = 2**33  # above every time of a world
    owners = pd.Index(world.users["user"]).get_indexer(world.events["user"])
    items = pd.Index(world.items["item"]).get_indexer(world.events["item"])
    keys = owners * span + world.events["time"].to_numpy()
    starts, stops = np.searchsorted(keys, users * span), np.searchsorted(keys, users * span + times)
    lengths = stops - starts
    rows = np.repeat(np.arange(len(users)), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    pairs = np.unique(rows * len(world.items) + items[starts[rows] + within])
    return pairs // len(world.items), pairs % len(world.items)


def _checked(
    world: StreamRec, users: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    users, times = np.asarray(users, np.int64), np.asarray(times, np.int64)
    if users.ndim != 1 or users.shape != times.shape:
        raise ValueError(f"users and times must be lists of one length, got shapes {users.shape} and {times.shape}")
    if len(users) and (users.min() < 0 or users.max() >= len(world.users)):
        found = f"{users.min()} to {users.max()}"
        raise ValueError(f"users must be from 0 to {len(world.users) - 1}, got {found}")
    return users, times
