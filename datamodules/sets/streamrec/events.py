"""What is opened, and how much of it is watched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.appeal import appeal_share
from datamodules.sets.streamrec.draws import Draws, pick
from datamodules.sets.streamrec.growth import growth
from datamodules.sets.streamrec.items import ItemTruth
from datamodules.sets.streamrec.liking import completion_chance, liking_of_each, liking_within
from datamodules.sets.streamrec.openings import draw_openings
from datamodules.sets.streamrec.settings import StreamRecSettings
from datamodules.sets.streamrec.tastes import Tastes, tastes_at
from datamodules.sets.streamrec.users import UserTruth

_OPENINGS_AT_ONCE = 32_768
_ROWS_AT_ONCE = 1_024
_CHANCES = 8  # uniform draws for each opening
_NOTHING = -1


@dataclass(frozen=True)
class Events:
    """What was opened, sorted by user and time.

    Args:
        users: [events] numbers of users.
        items: [events] numbers of items.
        times: [events] seconds since 1970 in UTC.
        percent: [events] how much was watched, 0 to 100.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    percent: NDArray[np.int64]


def draw_events(settings: StreamRecSettings, items: ItemTruth, users: UserTruth, draws: Draws) -> Events:
    """Each opening comes from one of three places, and its completion from the true liking.

    - by taste: a topic in proportion to growth(taste for it), in it an item in proportion to its appeal at that time
      times growth(liking for its format and style);
    - popular: an item in proportion to its full appeal; nothing is opened if it is not out yet or has faded, with the
      chance that it has;
    - anywhere: an item of the whole catalogue; nothing is opened if it is not out yet.

    What a user has opened before is opened again only with the chance `rewatch`, otherwise nothing is opened.
    `oracle_scores` computes the same from the same numbers.
    """
    owners, times = draw_openings(settings, users, draws)
    chances = draws.uniforms(_CHANCES, len(owners))
    found, percent = np.empty_like(owners), np.empty_like(owners)
    for start in range(0, len(owners), _OPENINGS_AT_ONCE):
        rows = slice(start, start + _OPENINGS_AT_ONCE)
        tastes = tastes_at(settings, users, owners[rows], times[rows])
        found[rows] = _pick_items(settings, items, tastes, times[rows], chances[:4, rows])
        percent[rows] = _watch(settings, items, tastes, found[rows], chances[4:7, rows])
    opened = found != _NOTHING
    allowed = chances[7, opened] < settings.rewatch
    opened[opened] = _first_or(allowed, owners[opened], found[opened], settings.items)
    return Events(owners[opened], found[opened], times[opened], percent[opened])


def _pick_items(
    settings: StreamRecSettings,
    items: ItemTruth,
    tastes: Tastes,
    times: NDArray[np.int64],
    chances: NDArray[np.float64],
) -> NDArray[np.int64]:
    """[openings] items from all three places, -1 for nothing.

    Args:
        settings: say how often an item comes from each place.
        items: the truth of all items.
        tastes: of the user of each opening.
        times: [openings] seconds since 1970 in UTC.
        chances: [4, openings] uniform draws: which place, which topic, which item, whether it has faded.
    """
    source, where, which, faded = chances
    found = np.full(len(times), _NOTHING)
    anywhere = source < settings.random_share
    popular = ~anywhere & (source < settings.random_share + settings.popular_share)
    topical = ~anywhere & ~popular
    found[anywhere] = (which[anywhere] * settings.items).astype(np.int64)
    found[popular] = pick(items.appeals, which[popular])
    age_s = times - items.released[found]  # meaningless for those by taste, which are chosen below
    share = appeal_share(settings, age_s, items.evergreen[found])
    found[(anywhere & (age_s < 0)) | (popular & (faded >= share))] = _NOTHING
    topics = np.where(topical, pick(growth(tastes.topics), where), _NOTHING)
    for topic in range(tastes.topics.shape[1]):
        members = np.flatnonzero(items.topics == topic)
        asking = np.flatnonzero(topics == topic)
        for start in range(0, len(asking) if len(members) else 0, _ROWS_AT_ONCE):
            rows = asking[start : start + _ROWS_AT_ONCE]
            weights = taste_weights(settings, items, members, tastes.of(rows), times[rows])
            places = pick(weights, which[rows])
            found[rows] = np.where(places < 0, _NOTHING, members[places])
    return found


def _watch(
    settings: StreamRecSettings,
    items: ItemTruth,
    tastes: Tastes,
    found: NDArray[np.int64],
    chances: NDArray[np.float64],
) -> NDArray[np.int64]:
    """[openings] how much is watched in percent.

    Completed: 50 to 100, rather more than less; given up: 0 to 49, rather less than more.

    Args:
        settings: say how liking becomes completion.
        items: the truth of all items.
        tastes: of the user of each opening.
        found: [openings] number of the item that was opened.
        chances: [3, openings] uniform draws.
    """
    liking = liking_of_each(tastes, items.topics[found], items.formats[found], items.styles[found])
    completed = chances[0] < completion_chance(settings, liking)
    level = np.maximum(chances[1], chances[2])
    return np.asarray(np.where(completed, 50 + level * 51, (1 - level) * 50), np.int64)


def taste_weights(
    settings: StreamRecSettings,
    items: ItemTruth,
    members: NDArray[np.int64],
    tastes: Tastes,
    times: NDArray[np.int64],
) -> NDArray[np.float64]:
    """[rows, members] in which proportion users who chose a topic open the items of it.

    Args:
        settings: say how appeal rises and fades.
        items: the truth of all items.
        members: [members] numbers of the topic's items.
        tastes: of [rows] users.
        times: [rows] seconds since 1970 in UTC.
    """
    share = appeal_share(settings, times[:, None] - items.released[members], items.evergreen[members])
    return items.appeals[members] * share * growth(liking_within(tastes, items.formats[members], items.styles[members]))


def _first_or(
    allowed: NDArray[np.bool_], owners: NDArray[np.int64], found: NDArray[np.int64], items: int
) -> NDArray[np.bool_]:
    """[openings] whether a user opens this item for the first time, or may open it again."""
    _, first = np.unique(owners * items + found, return_index=True)
    kept = allowed.copy()
    kept[first] = True
    return kept
