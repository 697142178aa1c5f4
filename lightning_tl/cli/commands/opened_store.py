"""A store that a command line names, opened or filled."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from lightning_tl.cli.commands.store_options import StoreOptions
from lightning_tl.search import NewItems
from lightning_tl.search.stores.postgres_store import PostgresStore
from lightning_tl.search.stores.qdrant_connection import KEY
from lightning_tl.search.stores.qdrant_store import QdrantStore

_TOLD_S = 5.0  # between two lines of progress
LOADING_S = 60.0  # that a request of a load may take
ANSWERING_S = 3.0  # that one may take for which somebody waits: those in the next batch still get an answer in time

Store = PostgresStore | QdrantStore


def opened_store(wanted: StoreOptions, model_sha256: str, timeout_s: float = LOADING_S) -> Store:
    """The catalogue of a model.

    Args:
        wanted: from the command line.
        model_sha256: of the model that asks.
        timeout_s: of a request; what refreshes a catalogue may take longer than what answers people.

    Raises:
        ValueError: there is no such catalogue.
        OSError: the store does not answer, or holds vectors of another model.
    """
    if wanted.kind == "postgres":
        return PostgresStore(wanted.address, wanted.name, timeout_s, model_sha256=model_sha256)
    return QdrantStore(wanted.address, wanted.name, os.environ.get(KEY), timeout_s, model_sha256=model_sha256)


def loaded_store(
    wanted: StoreOptions, items: NewItems, model_sha256: str, columns: Mapping[str, str], graph: bool
) -> Store:
    """A whole catalogue, in place of one of this name; says how far it is.

    Args:
        wanted: from the command line.
        items: all of them.
        model_sha256: of the model that made their vectors.
        columns: by name what each holds.
        graph: whether it is searched by a graph.

    Raises:
        ValueError, OSError: see `PostgresStore.load`.
    """
    told = Progress()
    if wanted.kind == "postgres":
        return PostgresStore.load(
            wanted.address, wanted.name, items, model_sha256, columns, graph=graph, timeout_s=LOADING_S, told=told
        )
    return QdrantStore.load(
        wanted.address, wanted.name, items, model_sha256, columns,
        graph=graph, api_key=os.environ.get(KEY), timeout_s=LOADING_S, told=told,
    )  # fmt: skip


class Progress:
    """A line every few seconds, and at the end."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _TOLD_S

    def __call__(self, done: int, count: int) -> None:
        """So many of so many are written."""
        if done == count or time.monotonic() >= self._next:
            self._next = time.monotonic() + _TOLD_S
            print(f"written  {done:,} of {count:,} items", flush=True)
