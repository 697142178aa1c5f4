"""Ranking by several processes, with the result of one."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.ranking.ranking import queries_at_once, ranks
from lightning_tl.retrieval.ranking.scorer import ITEMS_AT_ONCE, QUERIES_AT_ONCE, Scorer
from lightning_tl.retrieval.ranking.top_items import top_items
from lightning_tl.training.gather_rows import RowCounts


def rank_shard(query_count: int, rank: int, world_size: int, query_chunk: int) -> slice:
    """Which queries this process ranks: whole chunks, one after the other, as evenly as chunks can be shared out.

    One process cuts its queries at multiples of `query_chunk`. Shares that begin there are cut at the same places, so
    that every matrix has the same rows as with one process, and every bit is the same.

    Args:
        query_count: of all processes.
        rank: this process, from 0.
        world_size: number of processes.
        query_chunk: queries at once; of every process the same.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to {world_size - 1}, got {rank}")
    if query_chunk < 1:
        raise ValueError(f"query_chunk must be at least 1, got {query_chunk}")
    chunks = -(-query_count // query_chunk)
    first, last = (chunks * part // world_size * query_chunk for part in (rank, rank + 1))
    return slice(min(first, query_count), min(last, query_count))


def gather_ranks(own: NDArray[np.int64]) -> NDArray[np.int64]:
    """What all processes found, in their order; on every process.

    Args:
        own: [rows of this process, …]; processes may have different numbers of rows, also none.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return own
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    rows = torch.from_numpy(np.ascontiguousarray(own)).to(device)
    counts = RowCounts.gathered(len(rows), device, dist.get_world_size(), dist.get_rank())
    return counts.gather(rows).cpu().numpy()


def sharded_ranks(
    scorer: Scorer,
    queries: Queries,
    item_count: int,
    filter_seen: bool = True,
    query_chunk: int | None = None,
    item_chunk: int = ITEMS_AT_ONCE,
) -> NDArray[np.int64]:
    """`ranks` with the work shared by all processes, each of which has all queries and gets all ranks: [queries].

    Equal to the last bit to the ranks of one process on the same kind of device. Without processes it is `ranks`.
    """
    step = query_chunk or queries_at_once(item_count)
    mine = queries[_own_shard(len(queries), step)]
    return gather_ranks(ranks(scorer, mine, item_count, filter_seen, step, item_chunk))


def sharded_top(scorer: Scorer, queries: Queries, item_count: int, k: int) -> NDArray[np.int64]:
    """The items of `top_items`, with the work shared likewise: [queries, k]."""
    mine = queries[_own_shard(len(queries), QUERIES_AT_ONCE)]
    return gather_ranks(top_items(scorer, mine, item_count, k)[0])


def _own_shard(query_count: int, step: int) -> slice:
    alone = not (dist.is_available() and dist.is_initialized())
    rank, world_size = (0, 1) if alone else (dist.get_rank(), dist.get_world_size())
    return rank_shard(query_count, rank, world_size, step)
