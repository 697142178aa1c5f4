"""How much of a catalogue is shown to anybody."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lightning_tl.metrics import bootstrap_mean

COVERAGE_AT = 100  # items of each query that count as shown


def coverage(
    top: NDArray[np.int64], users: NDArray[np.int64], item_count: int, draws: int, level: float, seed: int
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """The share of the catalogue that somebody is shown, and the mean over users of the share that each is shown.

    Drawing users anew can only lose items that one user alone was shown, so a bootstrap of the first lies below its
    value; its interval is the normal one with the jackknife's standard error over users (Efron & Stein 1981).

    Args:
        top: [queries, at least 100 or all items] what was shown, best first, -1 for nothing.
        users: [queries] numbers from 0, each of which occurs.
        item_count: size of the catalogue.
        draws: number of bootstrap draws, of the second.
        level: of the intervals.
        seed: of the draws.

    Returns:
        `value`, `low` and `high` of both; ends are None with fewer than 2 users.

    Raises:
        ValueError: `top` is of another shape, or has items outside of the catalogue.
    """
    needed = min(COVERAGE_AT, item_count)
    if top.ndim != 2 or top.shape[1] < needed or len(top) != len(users):
        raise ValueError(
            f"top must be [{len(users)} queries, {needed} or more items] for coverage, got shape {top.shape}"
        )
    first = top[:, :COVERAGE_AT]
    if first.size and (first.min() < -1 or first.max() >= item_count):
        raise ValueError(f"items in top must be from -1 to {item_count - 1}, got {first.min()} to {first.max()}")
    pairs = np.unique((users[:, None] * item_count + first)[first >= 0])  # each user's different items
    user, item = pairs // item_count, pairs % item_count
    count = int(users.max()) + 1
    shown_to = np.bincount(item, minlength=item_count)
    value, own = float((shown_to > 0).mean()), np.bincount(user, minlength=count) / item_count
    if count < 2:
        return {"value": value, "low": None, "high": None}, {"value": float(own.mean()), "low": None, "high": None}
    alone = np.bincount(user[shown_to[item] == 1], minlength=count) / item_count  # what is lost without each user
    error = math.sqrt((count - 1) / count * float(np.square(alone - alone.mean()).sum()))
    reach = float(norm.ppf((1 + level) / 2)) * error
    found = bootstrap_mean(own, np.arange(count), draws, level, seed)
    return (
        {"value": value, "low": max(0.0, value - reach), "high": min(1.0, value + reach)},
        {"value": found.mean, "low": found.low, "high": found.high},
    )
