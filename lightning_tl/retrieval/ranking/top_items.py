"""The items that come first."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.contracts.interactions import NO_ITEM, Queries
from lightning_tl.retrieval.ranking.scorer import ITEMS_AT_ONCE, QUERIES_AT_ONCE, Scorer, check_sizes, tiles

_LOW_HALF = 2**32 - 1
_NOTHING = torch.iinfo(torch.int64).min  # key of no item, below every other


@torch.no_grad()
def top_items(
    scorer: Scorer,
    queries: Queries,
    item_count: int,
    k: int,
    filter_seen: bool = True,
    query_chunk: int = QUERIES_AT_ONCE,
    item_chunk: int = ITEMS_AT_ONCE,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best items of each query and their scores, best first: [queries, k] both.

    Equal scores are in the order of the items' numbers. Items whose score is not a number are left out. Where fewer
    than k are left, the rest is `NO_ITEM` with a score of minus infinity.

    Args:
        scorer: of [queries, items].
        queries: whose histories are known; their targets are not read.
        item_count: size of the catalogue.
        k: items per query, at least 1.
        filter_seen: leave out the items of each query's history, the target too where it is among them.
        query_chunk: queries at once.
        item_chunk: items that the scorer is asked for in one call.

    Raises:
        ValueError: k below 1, the catalogue is smaller than the log's, or scores have another shape than asked for.
    """
    check_sizes(queries, item_count, item_chunk, query_chunk)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    items, scores = [np.zeros((0, k), np.int64)], [np.zeros((0, k), np.float32)]
    for start in range(0, len(queries), query_chunk):
        best = _best_keys(scorer, queries[start : start + query_chunk], item_count, k, filter_seen, item_chunk)
        items.append((_LOW_HALF - (best & _LOW_HALF)).masked_fill_(best == _NOTHING, NO_ITEM).cpu().numpy())
        scores.append(_score_of(best).cpu().numpy())
    return np.concatenate(items), np.concatenate(scores)


def _best_keys(scorer: Scorer, queries: Queries, item_count: int, k: int, filter_seen: bool, item_chunk: int) -> Tensor:
    """The k highest keys of each query, highest first: [queries, k] int64, `_NOTHING` where there are fewer."""
    rows, seen = queries.seen() if filter_seen else (np.zeros(0, np.int64), np.zeros(0, np.int32))
    order = np.argsort(seen, kind="stable")
    rows, seen = rows[order], seen[order].astype(np.int64)
    best = torch.full((len(queries), k), _NOTHING)
    for items, scores in tiles(scorer, queries, item_count, item_chunk):
        best = best.to(scores.device)
        full = best[:, -1:] != _NOTHING
        # Items of later slices lose against earlier ones with the same score, so only higher ones matter.
        candidates = scores > _score_of(best[:, -1:])
        if not full.all():
            candidates |= ~full & ~scores.isnan()
        first, last = np.searchsorted(seen, [items.start, items.stop])
        places = (torch.from_numpy(part).to(scores.device) for part in (rows[first:last], seen[first:last]))
        mine, columns = places
        candidates[mine, columns - items.start] = False
        asking, columns = candidates.nonzero(as_tuple=True)
        found = _in_rows(_keys(scores[asking, columns], columns + items.start), asking, len(queries))
        best = torch.cat([best, found], dim=1).topk(k, dim=1).values
    return best


def _keys(scores: Tensor, items: Tensor) -> Tensor:
    """Whole numbers in the order of (score, earlier item first), no two alike for different items: [n] int64.

    The bits of a float32 above 0, read as a whole number, are in its order; those below 0 are in the opposite one.

    Args:
        scores: [n] float32.
        items: [n] int64.
    """
    bits = scores.view(torch.int32)
    height = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    return (height.long() << 32) + (_LOW_HALF - items)


def _score_of(keys: Tensor) -> Tensor:
    """The scores that keys were made of, minus infinity for `_NOTHING`: float32 of the same shape."""
    height = keys >> 32
    scores = height.abs().clamp(max=0x7FFFFFFF).to(torch.int32).view(torch.float32) * height.sign()
    return scores.masked_fill(keys == _NOTHING, float("-inf"))


def _in_rows(keys: Tensor, rows: Tensor, count: int) -> Tensor:
    """Keys as a table, `_NOTHING` after the end of shorter rows: [count, longest row].

    Args:
        keys: [n].
        rows: [n], never falling.
        count: number of rows; one without keys holds `_NOTHING` alone.
    """
    lengths = rows.bincount(minlength=count)
    within = torch.arange(len(rows), device=rows.device) - (lengths.cumsum(0) - lengths)[rows]
    table = keys.new_full((count, int(lengths.max()) if count else 0), _NOTHING)
    table[rows, within] = keys
    return table
