"""When users open something."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.draws import Draws
from datamodules.sets.streamrec.growth import growth
from datamodules.sets.streamrec.settings import DAY_S, StreamRecSettings
from datamodules.sets.streamrec.users import UserTruth

_ACTIVITY_SPREAD = 0.7
_MOST_ACTIVE = 6.0  # times the average, and the least active a tenth
_NEW_SESSION = 0.25  # so that a session has four openings on average
_LONGEST_GAP_S = 1_800


def draw_openings(
    settings: StreamRecSettings, users: UserTruth, draws: Draws
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and times of all openings, sorted by user and time.

    Openings come in sessions, on days that are spread evenly from a user's joining to the end of the period, later in
    the day rather than earlier. Those who join later open less in all, not more a day.

    Returns:
        [openings] numbers of users, [openings] seconds since 1970 in UTC, all within the period.
    """
    activity = np.clip(growth(_ACTIVITY_SPREAD * draws.normals(settings.users)), 0.1, _MOST_ACTIVE)
    present = (settings.end - users.joined) / float(settings.days * DAY_S)
    # Half are present all the time, the others for 5/8 of it on average; the mean of activity is about 1.27.
    expected = settings.openings_per_user / (1.27 * 0.8125) * activity * present
    counts = (expected + draws.uniforms(settings.users)).astype(np.int64)  # rounded up or down at random
    owner = np.repeat(np.arange(settings.users), counts)
    first = np.ones(len(owner), bool)
    first[1:] = owner[1:] != owner[:-1]
    begins = np.flatnonzero(first | (draws.uniforms(len(owner)) < _NEW_SESSION))
    session = np.searchsorted(begins, np.arange(len(owner)), side="right") - 1
    joined = users.joined[owner[begins]]
    midnight = joined - joined % DAY_S
    days = (settings.end - midnight + DAY_S - 1) // DAY_S
    day = (draws.uniforms(len(begins)) * days).astype(np.int64)
    clock_s = (np.maximum(draws.uniforms(len(begins)), draws.uniforms(len(begins))) * DAY_S).astype(np.int64)
    starts = midnight + day * DAY_S + clock_s
    gaps = 1 + draws.integers(_LONGEST_GAP_S, len(owner))
    elapsed = np.cumsum(gaps)
    times = starts[session] + elapsed - elapsed[begins][session]
    inside = (times >= users.joined[owner]) & (times < settings.end)
    order = np.lexsort((times[inside], owner[inside]))
    return owner[inside][order].astype(np.int64), times[inside][order].astype(np.int64)
