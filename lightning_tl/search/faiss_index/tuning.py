"""How hard an index must look to find what exact search finds, by queries that were held out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]
Search = Callable[[Vectors, int, int, int], Places]  # queries, k, effort, factor -> [queries, k], -1 where none

RECALL_AT = 100
DEPTHS = (100, 200, 500, 1_000)
FACTORS = (1, 2, 4, 8, 16, 32)
_TIMED = 200  # single queries


def efforts(search: Search, held_out: Vectors, exact: Places, recall: float, most: int, factor: int) -> list[list[int]]:
    """For each depth the least effort by which this share of so many nearest items is found: [[depth, effort], …].

    Args:
        search: of the index.
        held_out: [queries, dim].
        exact: [queries, depth] what is right, as deep as it goes.
        recall: to be reached; where no effort does, all there is is given.
        most: the greatest effort.
        factor: of candidates that are ranked again.
    """
    deepest = exact.shape[1]
    open_ = sorted({min(depth, deepest) for depth in DEPTHS})
    found: list[list[int]] = []
    effort = 1.0
    while open_:
        now = min(most, int(np.ceil(effort)))
        places = search(held_out, open_[0] if factor else open_[-1], now, factor)
        while open_ and (now == most or _reached(exact[:, : open_[0]], places[:, : open_[0]], recall)):
            found.append([open_.pop(0), now])
            if factor and open_ and now < most:  # candidates of a greater depth are others
                places = search(held_out, open_[0], now, factor)
        effort *= 2 if effort < 8 else 2**0.5
    for step in found if most > 1 else []:  # once more between the last two
        depth, less = step[0], int(step[1] / 2**0.25)
        if 8 < less < step[1] and _reached(exact[:, :depth], search(held_out, depth, less, factor), recall):
            step[1] = less
    return found


def _reached(exact: Places, found: Places, recall: float) -> bool:
    """Whether the recall is reached, by a standard error more, so that other queries most likely reach it too."""
    each = np.array([len(np.intersect1d(a, b)) / len(a) for a, b in zip(exact, found, strict=True)])
    return bool(each.mean() - each.std() / len(each) ** 0.5 >= recall)


def factor_of(search: Search, held_out: Vectors, exact: Places, recall: float, most: int) -> int:
    """Of how many candidates for each wanted item exact vectors decide, see `efforts`; all lists are looked through."""
    depth = min(RECALL_AT, exact.shape[1])
    some = slice(0, 200)
    for factor in FACTORS:
        if shared(exact[some, :depth], search(held_out[some], depth, most, factor)) >= min(1.0, recall + 0.003):
            return factor
    return FACTORS[-1]


def measured_facts(search: Callable[[Vectors, int], Places], queries: Vectors, exact: Places) -> dict[str, Any]:
    """Recall among the first 10 and 100, and what a single query takes in milliseconds."""
    depth = min(RECALL_AT, exact.shape[1])
    found = search(queries, depth)
    facts = {"recall_at_100": round(shared(exact[:, :depth], found), 4)}
    facts["recall_at_10"] = round(shared(exact[:, :10], found[:, :10]), 4)
    taken = []
    for query in queries[:_TIMED]:
        start = time.perf_counter()
        search(query[None], depth)
        taken.append((time.perf_counter() - start) * 1e3)
    return facts | {f"p{share}_ms": round(float(np.percentile(taken, share)), 3) for share in (50, 99)}


def shared(exact: Places, found: Places) -> float:
    """The share of the right places that were found."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True))
    return hits / exact.size
