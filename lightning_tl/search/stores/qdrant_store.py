"""`QdrantStore`: a catalogue in Qdrant, a cluster or its client's own folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.stores.about import About, NoCatalogueError, checked_columns, checked_name
from lightning_tl.search.stores.circuit import Circuit
from lightning_tl.search.stores.qdrant_collections import about_now, load, make_graph
from lightning_tl.search.stores.qdrant_conditions import ID, TITLE, filter_of, point_id
from lightning_tl.search.stores.qdrant_connection import QdrantConnection
from lightning_tl.search.stores.qdrant_requests import nearest, number_key, passing, points_of, span_of, write
from lightning_tl.search.stores.rows import batches, checked_rows
from lightning_tl.search.vector_store import Found, NewItems, UnknownItemError, Vectors, checked_items, checked_queries

_TRIES = 5  # while another process swaps the catalogue
Answer = TypeVar("Answer")
Told = Callable[[int, int], None]


class QdrantStore:
    """A catalogue under a name; see `VectorStore`. What a filter asks for becomes part of the query.

    Items lie in a collection of their own, and the name is an alias of it: `swap` exchanges a whole catalogue by naming
    another collection. Search is exact unless `make_index` was called; with a graph, a search that finds too few is
    made again exactly. What the catalogue is stands in the collection's metadata, which Qdrant has from version 1.16.

    Args:
        address: of a cluster, `https://host:6333`; or a folder, which the client searches itself: for tests and trials,
            as it reads everything into memory and filters item by item; or a connection that is there already.
        name: of the catalogue: letters, digits and underscores.
        api_key: of the cluster.
        timeout_s: of a request; the client rounds up to whole seconds.
        circuit: see `Circuit`; default one of its own.
        model_sha256: of the model that asks; None takes a catalogue of any.

    Raises:
        ModuleNotFoundError: the extra `qdrant` is not installed.
        ValueError: a name that is none, or there is no such catalogue: see `create`.
        UnreachableError: the cluster does not answer.
        OtherModelError: another model made the vectors.
    """

    def __init__(
        self,
        address: str | QdrantConnection,
        name: str,
        api_key: str | None = None,
        timeout_s: float = 5.0,
        circuit: Circuit | None = None,
        model_sha256: str | None = None,
    ) -> None:
        self.name, self.model_sha256 = checked_name(name), model_sha256
        self.connection = _connection(address, name, api_key, timeout_s, circuit)
        self._now(lambda client, about: None)

    @classmethod
    def create(
        cls,
        address: str | QdrantConnection,
        name: str,
        dim: int,
        model_sha256: str,
        columns: Mapping[str, str] | None = None,
        **options: Any,
    ) -> QdrantStore:
        """A new catalogue without items; one of this name that is there is emptied.

        Args:
            address: see the class.
            name: see the class.
            dim: length of the vectors.
            model_sha256: of the model that makes them.
            columns: by name what each holds, of `KINDS`.
            **options: of `load`.

        Raises:
            ValueError: as the class, and for columns of another kind.
        """
        none = NewItems(ids=[], vectors=np.zeros((0, dim), np.float32))
        return cls.load(address, name, none, model_sha256, columns, **options)

    @classmethod
    def load(
        cls,
        address: str | QdrantConnection,
        name: str,
        items: NewItems,
        model_sha256: str,
        columns: Mapping[str, str] | None = None,
        *,
        graph: bool = False,
        shards: int | None = None,
        replicas: int | None = None,
        api_key: str | None = None,
        timeout_s: float = 5.0,
        circuit: Circuit | None = None,
        told: Told = lambda done, count: None,
    ) -> QdrantStore:
        """A whole catalogue, in place of one of this name; until it is complete, the old one is searched.

        What was written by a load of the same items that was stopped is not written again.

        Args:
            address: see the class.
            name: see the class.
            items: all of them.
            model_sha256: of the model that made their vectors.
            columns: by name what each holds, of `KINDS`.
            graph: whether `make_index` is called before it takes its place.
            shards: of a cluster, over which the items are spread.
            replicas: of each shard.
            api_key: see the class.
            timeout_s: see the class.
            circuit: see the class.
            told: is handed how many items are written, and of how many.

        Raises:
            ValueError: see the class and `VectorStore.upsert`; the old catalogue stays.
        """
        vectors = checked_items(items, None)
        about = About(
            place="", dim=vectors.shape[1], model_sha256=model_sha256, columns=checked_columns(columns or {}),
            graph=graph, shards=shards, replicas=replicas,
        )  # fmt: skip
        connection = _connection(address, checked_name(name), api_key, timeout_s, circuit)
        load(connection, name, items, about, told)
        return cls(connection, name)

    # ---------------------------------------------------------------- the contract

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `VectorStore`."""
        return self._now(
            lambda client, about: {
                "kind": "Qdrant",
                "items": int(client.count(about.place, exact=True).count),
                "dim": about.dim,
                "model_sha256": about.model_sha256,
            }
        )

    @property
    def columns(self) -> Mapping[str, str]:
        """By name what each column holds, of `KINDS`."""
        return self._now(lambda client, about: about.columns)

    def __len__(self) -> int:
        return self._now(lambda client, about: int(client.count(about.place, exact=True).count))

    def search(self, queries: Vectors, k: int, filters: Sequence[ItemFilter] | None = None) -> list[Found]:
        """See `VectorStore`."""

        def ask(client: Any, about: About) -> list[Found]:
            checked = checked_queries(queries, about.dim, k, filters)
            wanted = filters or [ItemFilter()] * len(checked)
            those = [filter_of(one, about) for one in wanted]
            return nearest(client, about, checked, k, those, self.connection.remote)

        return self._now(ask)

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """See `VectorStore`."""
        found = self._points(ids, with_vectors=True)
        _check_known(self.name, ids, found)
        dim = self._now(lambda client, about: about.dim) if not ids else -1
        return np.array([found[name].vector for name in ids], np.float32).reshape(len(ids), dim)

    def upsert(self, items: NewItems) -> None:
        """See `VectorStore`; of many items each thousand is written whole, so that a load that was stopped goes on."""
        vectors = self._now(lambda client, about: checked_rows(items, about, self.name))
        for part in batches(len(items.ids), vectors.shape[1]):
            self._now(lambda client, about, part=part: write(client, about, items, vectors, part))  # type: ignore[misc]

    def remove(self, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        from qdrant_client import models

        there = list(self._points(ids))
        for part in batches(len(there)):
            points = models.PointIdsList(points=[point_id(there[k]) for k in part])
            self._now(lambda client, about, points=points: client.delete(about.place, points, wait=True))  # type: ignore[misc]
        return len(there)

    # ---------------------------------------------------------------- what an answer needs besides

    def titles(self, ids: Sequence[str]) -> list[str]:
        """See `Catalogue`."""
        found = self._points(ids, with_payload=[TITLE])
        _check_known(self.name, ids, found)
        return [str(found[name].payload[TITLE]) for name in ids]

    def known(self, ids: Sequence[str]) -> list[bool]:
        """See `Catalogue`."""
        found = self._points(ids)
        return [name in found for name in ids]

    def allowed(self, wanted: ItemFilter, most: int | None = None) -> dict[str, None]:
        """See `Catalogue`."""
        return self._now(lambda client, about: passing(client, about, filter_of(wanted, about), most))

    def values(self, column: str, ids: Sequence[str]) -> NDArray[np.float64]:
        """See `Catalogue`."""
        key = self._now(lambda client, about: number_key(about, column))
        found = self._points(ids, with_payload=[key])
        _check_known(self.name, ids, found)
        return np.array([found[name].payload.get(key, np.nan) for name in ids], np.float64)

    def span(self, column: str) -> tuple[float, float]:
        """See `Catalogue`."""
        return self._now(lambda client, about: span_of(client, about, column))

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that the catalogue lacks, in their order."""
        return [name for name, there in zip(ids, self.known(ids), strict=True) if not there]

    # ---------------------------------------------------------------- what a database can do besides

    def swap(self, items: NewItems, model_sha256: str, told: Told = lambda done, count: None) -> None:
        """Put a whole new catalogue in place of this one at once; until it is complete, the old one is searched.

        Args:
            items: all of them.
            model_sha256: of the model that made their vectors.
            told: see `load`.

        Raises:
            ValueError: see `upsert`; the old catalogue stays.
        """
        vectors = checked_items(items, None)
        about = self._now(lambda client, about: about)
        load(self.connection, self.name, items, replace(about, dim=vectors.shape[1], model_sha256=model_sha256), told)
        self.model_sha256 = None if self.model_sha256 is None else model_sha256

    def make_index(self, m: int = 16, ef_construction: int = 100) -> None:
        """An HNSW graph (Malkov & Yashunin, 2018), from some ten thousand items on; it is waited for.

        Args:
            m: neighbours of a node.
            ef_construction: candidates while it is built.
        """
        make_graph(self.connection, self._now(lambda client, about: about), m, ef_construction)

    def close(self) -> None:
        """End the connection."""
        self.connection.close()

    # ---------------------------------------------------------------- inside

    def _now(self, work: Callable[[Any, About], Answer]) -> Answer:
        """What is done with the collection that is searched now; once more where another took its place meanwhile."""
        for left in reversed(range(_TRIES)):
            about = about_now(self.connection, self.name)
            if about is None:
                raise NoCatalogueError(
                    f"Qdrant has no catalogue '{self.name}': make it with QdrantStore.create, or with: lightning-tl "
                    "index build --store"
                )
            about.check_model(self.name, self.model_sha256)
            try:
                return self.connection.ask(lambda client, about=about: work(client, about))  # type: ignore[misc]
            except NoCatalogueError:
                if left == 0:
                    raise
        raise AssertionError("the last try returns or raises")

    def _points(
        self, ids: Sequence[str], with_payload: Sequence[str] = (), with_vectors: bool = False
    ) -> dict[str, Any]:
        """Those of the items that are there, by id."""
        fields = [ID, *with_payload]
        return self._now(lambda client, about: points_of(client, about.place, ids, fields, with_vectors))


def _connection(
    address: str | QdrantConnection, name: str, api_key: str | None, timeout_s: float, circuit: Circuit | None
) -> QdrantConnection:
    if isinstance(address, QdrantConnection):
        return address
    return QdrantConnection(address, api_key, timeout_s, circuit or Circuit(f"the Qdrant of the catalogue {name}"))


def _check_known(name: str, ids: Sequence[str], found: Mapping[str, Any]) -> None:
    unknown = next((one for one in ids if one not in found), None)
    if unknown is not None:
        raise UnknownItemError(f"there is no item '{unknown}' in the catalogue {name}")
