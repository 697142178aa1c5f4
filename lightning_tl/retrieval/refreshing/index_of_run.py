"""The index of a finished run, made anew of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lightning_tl.contracts.batches import query_batch
from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.judging.held_out import held_out_queries
from lightning_tl.retrieval.retrieval_data import RetrievalData
from lightning_tl.retrieval.two_tower import TwoTower
from lightning_tl.search import ItemFields, ItemIndex
from lightning_tl.storage.tensor_digest import tensor_digest

_HELD_OUT = 1_000  # queries with which an index is tuned, and as many by which it is measured
_AT_ONCE = 256


@torch.no_grad()
def catalogue_vectors(module: TwoTower) -> torch.Tensor:
    """[items, dim], unit norm: what the item tower makes of the run's own items."""
    module.eval().items.refresh()
    return F.normalize(module.item_vectors().float(), dim=-1)


@torch.no_grad()
def index_of_run(module: TwoTower, data: RetrievalData, fields: ItemFields | None, **how: Any) -> ItemIndex:
    """Encode the catalogue and make its index.

    Args:
        module: built, with its trained weights.
        data: its event log, parted in time as in training.
        fields: columns to filter by, a row for each item.
        **how: `kind`, `recall`, `memory_limit` and `latency_ms` of `ItemIndex.build`.

    Raises:
        ValueError: see `ItemIndex.build`.
    """
    vectors = catalogue_vectors(module).cpu().numpy()
    items = module.item_vectors()
    tuned, judged = (_vectors(module, part, items, data.history_length) for part in held_out_queries(data, _HELD_OUT))
    digest, log = tensor_digest(module.state_dict()), data.training_log
    return ItemIndex.build(vectors, log.item_ids, data.item_titles, digest, tuned, judged, fields=fields, **how)


def _vectors(module: TwoTower, queries: Queries, items: torch.Tensor, length: int) -> NDArray[np.float32]:
    """[queries, dim], unit norm."""
    found = [np.zeros((0, module.items.dim), np.float32)]
    for start in range(0, len(queries), _AT_ONCE):
        batch = query_batch(queries[start : start + _AT_ONCE], length)
        here: Any = {name: value.to(items.device) for name, value in batch.items()}  # type: ignore[attr-defined]
        found.append(module.embed_queries(here, items[here["history"].clamp(min=0)]).cpu().numpy())
    return np.concatenate(found)
