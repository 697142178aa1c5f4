"""Where each query's target stands among all items."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.ranking.embedding_scorer import EmbeddingScorer
from lightning_tl.retrieval.ranking.scorer import ITEMS_AT_ONCE, QUERIES_AT_ONCE, Scorer, check_sizes, tiles
from lightning_tl.retrieval.ranking.top_items import top_items

__all__ = ["EmbeddingScorer", "Scorer", "queries_at_once", "ranks", "top_items"]

_SCORES_AT_ONCE = 2**26  # of a chunk of queries over all items: 256 MiB, and a quarter of it for what is ahead


def queries_at_once(item_count: int) -> int:
    """Queries of a chunk: as many as keep the scores over all items at 256 MiB, and no more than 512."""
    return min(QUERIES_AT_ONCE, max(1, _SCORES_AT_ONCE // max(1, item_count)))


@torch.no_grad()
def ranks(
    scorer: Scorer,
    queries: Queries,
    item_count: int,
    filter_seen: bool = True,
    query_chunk: int | None = None,
    item_chunk: int = ITEMS_AT_ONCE,
) -> NDArray[np.int64]:
    """The place, from 1, of each query's target among all items that its history does not hold: [queries].

    Every item is ranked, never a sample. Items with the target's own score are ahead of it, so that nothing is gained
    by ties: a scorer that knows nothing, and gives one score to all, is last. So are a score that is not a number,
    which is ahead of every target, and a target whose own score is not a number. A target that the history holds
    already is ranked all the same.

    Exact: a query's scores over all items are held at once, and its target's score is read from among them, not
    computed a second time. Ranks are a function of the scorer's numbers; two scorers that give the same numbers have
    the same ranks, on however many processes (see `sharded_ranks`), and a scorer whose numbers do not depend on the
    slice that is asked for has the same ranks for every `query_chunk` and `item_chunk`.

    Memory beyond the embeddings: 5 bytes per query of a chunk and item (320 MiB by default; above 67 million items 5
    bytes per item), what the scorer needs for one slice, and a chunk's histories.

    Args:
        scorer: of [queries, items].
        queries: what was asked, with what was taken.
        item_count: size of the catalogue.
        filter_seen: leave out the items of each query's history.
        query_chunk: queries at once; None for what fits, see `queries_at_once`.
        item_chunk: items that the scorer is asked for in one call.

    Raises:
        ValueError: the catalogue is smaller than the log's, or scores have another shape than asked for.
    """
    check_sizes(queries, item_count, item_chunk, query_chunk)
    step = query_chunk or queries_at_once(item_count)
    found = [np.zeros(0, np.int64)]
    for start in range(0, len(queries), step):
        found.append(_ranks_of_chunk(scorer, queries[start : start + step], item_count, filter_seen, item_chunk))
    return np.concatenate(found)


def _ranks_of_chunk(
    scorer: Scorer, queries: Queries, item_count: int, filter_seen: bool, item_chunk: int
) -> NDArray[np.int64]:
    every: Tensor | None = None  # [queries, all items]
    for items, scores in tiles(scorer, queries, item_count, item_chunk):
        if every is None:
            every = torch.empty(len(queries), item_count, device=scores.device)
        every[:, items] = scores
    if every is None:
        return np.zeros(0, np.int64)
    mine = torch.arange(len(queries), device=every.device)
    targets = torch.from_numpy(queries.targets.astype(np.int64)).to(every.device)
    # Not "at least as high": that would leave out what is not a number.
    ahead = (every < every[mine, targets][:, None]).logical_not_()
    if filter_seen:
        rows, seen = (torch.from_numpy(part.astype(np.int64)).to(every.device) for part in queries.seen())
        ahead[rows, seen] = False
    ahead[mine, targets] = False
    # Row by row: counting along an axis is many times slower than counting a whole row.
    counts = torch.stack([row.count_nonzero() for row in ahead])
    return 1 + counts.cpu().numpy().astype(np.int64)
