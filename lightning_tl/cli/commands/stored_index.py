"""`index` of a catalogue in a store: loaded, or brought up to items that came, changed and went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lightning_tl.cli.commands.opened_store import loaded_store, opened_store
from lightning_tl.cli.commands.store_options import StoreOptions
from lightning_tl.retrieval import TwoTower
from lightning_tl.retrieval.refreshing.index_of_run import catalogue_vectors
from lightning_tl.search import ItemFields, NewItems
from lightning_tl.search.stores.columns import kinds_of, values_of
from lightning_tl.storage.tensor_digest import tensor_digest

if TYPE_CHECKING:
    from datamodules import InteractionDataModule

EXACT_UP_TO = 50_000  # items, which a database compares one by one in some ten milliseconds


def load_catalogue(
    wanted: StoreOptions, module: TwoTower, data: InteractionDataModule, fields: ItemFields | None, kind: str
) -> str:
    """Write the catalogue of a run, and say in a line what is there; a load that was stopped goes on.

    Args:
        wanted: from the command line.
        module: built, with its trained weights.
        data: its event log.
        fields: columns to filter by, a row for each item.
        kind: "FlatIP" to compare one by one, "HNSW" for a graph, "auto" by the number of items.

    Raises:
        ValueError, OSError: see `PostgresStore.load`.
    """
    ids = list(data.training_log.item_ids)
    vectors = catalogue_vectors(module).cpu().numpy()
    items = NewItems(ids=ids, vectors=vectors, titles=list(data.item_titles), fields=values_of(fields))
    graph = kind == "HNSW" or (kind == "auto" and len(ids) > EXACT_UP_TO)
    store = loaded_store(wanted, items, tensor_digest(module.state_dict()), kinds_of(fields), graph)
    try:
        how = "searched by a graph (HNSW)" if graph else "compared one by one"
        return f"catalogue {wanted.name}: {len(store):,} items, {store.facts['kind']}, {how}"
    finally:
        store.close()


def refresh_catalogue(
    wanted: StoreOptions, module: TwoTower, new: Callable[[Mapping[str, str]], NewItems | None], gone: list[str]
) -> str:
    """Add, change and remove items, and say in lines what was done.

    Args:
        wanted: from the command line.
        module: built, with its trained weights.
        new: items that came or changed, given the columns of the catalogue; None for none.
        gone: ids of items to remove.

    Raises:
        ValueError, OSError: see `PostgresStore`.
    """
    store = opened_store(wanted, tensor_digest(module.state_dict()))
    try:
        items = new(store.columns)
        ids = [] if items is None else list(items.ids)
        added = len(store.missing(ids))
        left = len(store) + added - len({name for name, there in zip(gone, store.known(gone), strict=True) if there})
        if left <= 0:
            raise ValueError("no item would be left in the catalogue; nothing was written")
        if items is not None:
            store.upsert(items)
        removed = store.remove(gone)
        done = (
            f"added {added:,}, changed {len(ids) - added:,}, removed {removed:,} of {len(gone):,} items that were named"
        )
        return f"{done}\ncatalogue {wanted.name}: {len(store):,} items, {store.facts['kind']}"
    finally:
        store.close()
