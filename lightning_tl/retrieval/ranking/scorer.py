"""What a model or a baseline is to the ranking: something that scores items for queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from lightning_tl.contracts.interactions import Queries

ITEMS_AT_ONCE = 8_192  # that a scorer is asked for in one call
QUERIES_AT_ONCE = 512


class Scorer(Protocol):
    """Anything that scores items for queries: a trained model or a baseline.

    Args:
        name: what reports call it.
    """

    name: str

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice] float32, higher is better; for each query from its history and time alone."""
        ...


def tiles(scorer: Scorer, queries: Queries, item_count: int, item_chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Each slice of items, in order, with its scores: [queries, items of the slice] float32. Nothing without queries.

    Raises:
        ValueError: scores of another shape.
    """
    for start in range(0, item_count if len(queries) else 0, item_chunk):
        items = slice(start, min(start + item_chunk, item_count))
        scores = scorer.scores(queries, items)
        wanted = (len(queries), items.stop - items.start)
        if scores.shape != wanted:
            raise ValueError(f"{scorer.name} must give scores of shape {wanted}, got {tuple(scores.shape)}")
        yield items, scores.float()


def check_sizes(queries: Queries, item_count: int, item_chunk: int, query_chunk: int | None) -> None:
    """Check what ranking is asked for.

    Raises:
        ValueError: a catalogue smaller than the log's, or chunks of nothing.
    """
    if item_count < max(1, len(queries.log.item_ids)):
        raise ValueError(f"item_count must be at least the log's {len(queries.log.item_ids)} items, got {item_count}")
    for name, size in (("item_chunk", item_chunk), ("query_chunk", query_chunk)):
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
