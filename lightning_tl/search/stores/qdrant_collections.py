"""Collections of Qdrant's in which catalogues lie, and the aliases by which they are found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lightning_tl.search.stores.about import About, NoCatalogueError
from lightning_tl.search.stores.qdrant_conditions import SCHEMAS, key_of
from lightning_tl.search.stores.qdrant_connection import QdrantConnection
from lightning_tl.search.stores.qdrant_requests import points_of, write
from lightning_tl.search.stores.rows import batches, checked_rows, fingerprint, is_place_of, place_of_load
from lightning_tl.search.vector_store import NewItems

_OURS, _LOADING = "lightning_tl", "lightning_tl_loading"
_LOOKED_AT_S = 0.5  # between two looks at whether a graph is complete


def about_now(connection: QdrantConnection, name: str) -> About | None:
    """What stands in the collection that an alias names; None where there is none, or none of ours."""
    try:
        told = (connection.ask(lambda client: client.get_collection(name)).config.metadata or {}).get(_OURS)
    except NoCatalogueError:
        return None
    return None if told is None else About(**told)


def load(
    connection: QdrantConnection, name: str, items: NewItems, about: About, told: Callable[[int, int], None]
) -> None:
    """Write a whole catalogue beside the one that is searched, then put it in its place; see `QdrantStore.load`.

    Args:
        connection: to Qdrant.
        name: of the catalogue.
        items: all of them.
        about: what it will be; its place is found here.
        told: is handed how many items are written, and of how many.
    """
    vectors = checked_rows(items, about, name)
    before = about_now(connection, name)
    now = None if before is None else before.place
    about = replace(about, place=place_of_load(name, fingerprint(items, vectors, about), now))
    connection.ask(lambda client: _begin(client, name, about, now, connection.remote))
    for part in batches(len(items.ids), about.dim):
        ids = [items.ids[k] for k in part]
        there = connection.ask(lambda client, ids=ids: points_of(client, about.place, ids))  # type: ignore[misc]
        new = [k for k in part if items.ids[k] not in there]
        if new:
            connection.ask(lambda client, new=new: write(client, about, items, vectors, new))  # type: ignore[misc]
        told(part.stop, len(items.ids))
    if about.graph:
        make_graph(connection, about)
    connection.ask(lambda client: _put_in_place(client, name, about.place, now))


def _make_collection(client: Any, about: About, remote: bool) -> None:
    """A collection without items and, until `make_graph`, without a graph, so that writing is quick.

    Args:
        client: of Qdrant.
        about: what it will hold.
        remote: whether it is a cluster, which keeps indexes of columns.
    """
    from qdrant_client import models

    client.create_collection(
        about.place,
        vectors_config=models.VectorParams(size=about.dim, distance=models.Distance.DOT),
        hnsw_config=models.HnswConfigDiff(m=0),
        shard_number=about.shards,
        replication_factor=about.replicas,
        metadata={_OURS: {**vars(about), "columns": dict(about.columns), "graph": False}, _LOADING: True},
    )
    if remote:
        for column, kind in about.columns.items():
            client.create_payload_index(about.place, key_of(about, column), SCHEMAS[kind], wait=True)


def make_graph(connection: QdrantConnection, about: About, m: int = 16, ef_construction: int = 100) -> None:
    """Build the graph of a collection, and wait until it is complete; what the client keeps by itself has none."""
    from qdrant_client import models

    if not connection.remote:
        return

    told = {_OURS: {**vars(about), "columns": dict(about.columns), "graph": True}}
    sizes = models.HnswConfigDiff(m=m, ef_construct=ef_construction)
    connection.ask(lambda client: client.update_collection(about.place, hnsw_config=sizes, metadata=told))
    while True:
        status = connection.ask(lambda client: client.get_collection(about.place)).status
        if status != models.CollectionStatus.YELLOW:
            break
        time.sleep(_LOOKED_AT_S)


def _begin(client: Any, name: str, about: About, now: str | None, remote: bool) -> None:
    """Make the collection of a load where there is none yet, and delete those of other loads that came to nothing."""
    there = {one.name for one in client.get_collections().collections}
    for one in sorted(there):
        if is_place_of(name, one) and one not in (about.place, now):
            client.delete_collection(one)
    if about.place in there and not client.get_collection(about.place).config.metadata.get(_LOADING):
        client.delete_collection(about.place)  # it was searched once, and may have been changed since
        there.remove(about.place)
    if about.place not in there:
        _make_collection(client, about, remote)


def _put_in_place(client: Any, name: str, place: str, before: str | None) -> None:
    """Let an alias name another collection, at once, and delete the one that it named."""
    from qdrant_client import models

    given = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=place, alias_name=name))
    taken = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))
    client.update_collection(place, metadata={_LOADING: False})
    client.update_collection_aliases([given] if before is None else [taken, given])
    if before is not None:
        client.delete_collection(before)
