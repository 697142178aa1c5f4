"""`index`: make or refresh the index of a run's catalogue."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from datamodules.events.item_pictures import ItemPictures
from datamodules.events.item_table import ItemTable, item_table
from datamodules.tables.tables import read_table
from lightning_tl.cli.commands.followed_index import follow_index
from lightning_tl.cli.commands.index_options import IndexOptions
from lightning_tl.cli.commands.store_options import StoreOptions
from lightning_tl.cli.commands.stored_index import load_catalogue, refresh_catalogue
from lightning_tl.cli.commands.two_tower_run import TwoTowerCLI
from lightning_tl.retrieval import TwoTower
from lightning_tl.retrieval.refreshing.index_of_run import index_of_run
from lightning_tl.retrieval.refreshing.new_item_vectors import raw_item_vectors
from lightning_tl.search import ItemFields, ItemIndex, NewItems
from lightning_tl.search.faiss_index.drift import RECALL_NOW, drift_of, made_anew
from lightning_tl.search.item_fields import fields_of_frame
from lightning_tl.search.stores.columns import values_of
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.storage.alone import alone
from lightning_tl.storage.tensor_digest import tensor_digest

if TYPE_CHECKING:
    import pandas as pd

    from datamodules import InteractionDataModule


class IndexCLI(TwoTowerCLI):
    """Opens a run and writes its `index/`.

    Args:
        options: from `read_index_options`.
    """

    command: ClassVar[str] = "index"

    def __init__(self, options: IndexOptions) -> None:
        self.wanted = options
        super().__init__(options.run)

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        wanted = self.wanted
        gone = [] if wanted.remove is None else _ids(wanted.remove)
        table = None if wanted.items is None else read_table(wanted.items)
        module, data, run = self.opened(everything=False)
        if wanted.store is not None:
            print(self._in_store(wanted.store, module, data, table, gone))
            return
        bundle = wanted.bundle or run / "bundle"
        if wanted.bundle is not None:
            Manifest.read(wanted.bundle)  # one that is none is named before long work
        self.changed: dict[str, Any] = {}  # by id, vectors of items that came or changed, before they have length 1
        own = None if data.item_pictures is None else (data.item_pictures, data.log.item_ids)
        self.pictures = own if wanted.action == "build" else None  # those that are new
        with alone(run / "index.lock"):
            index = self._built(module, data) if wanted.action == "build" else None
            index = index or self._refreshed(module, data, run, table, gone)
            index.write(run / "index")
            print(f"{run / 'index'}: {len(index):,} items, {told_facts(index.facts)}", flush=True)
            followed = follow_index(bundle, run / "index", index, self.changed, self.pictures)
        if followed:
            print(followed)

    def _in_store(
        self,
        store: StoreOptions,
        module: TwoTower,
        data: InteractionDataModule,
        table: pd.DataFrame | None,
        gone: list[str],
    ) -> str:
        if self.wanted.action == "build":
            return load_catalogue(store, module, data, self._own_fields(data), self.wanted.kind)

        def new(columns: Mapping[str, str]) -> NewItems | None:
            if table is None:
                return None
            assert self.wanted.items is not None
            return _new_items(module, data, columns, table, self.wanted.items).items

        return refresh_catalogue(store, module, new, gone)

    def _own_fields(self, data: InteractionDataModule) -> ItemFields | None:
        frame = data.tables()[0]
        return None if frame is None else _fields(frame, data, data.log.item_ids)

    def _built(self, module: TwoTower, data: InteractionDataModule) -> ItemIndex:
        wanted, fields = self.wanted, self._own_fields(data)
        how = {"recall": wanted.recall, "memory_limit": wanted.memory_limit, "latency_ms": wanted.latency_ms}
        return index_of_run(module, data, fields, kind=wanted.kind, **how)

    def _refreshed(
        self, module: TwoTower, data: InteractionDataModule, run: Path, frame: pd.DataFrame | None, gone: list[str]
    ) -> ItemIndex:
        index = ItemIndex.open(run / "index", tensor_digest(module.state_dict()))
        before = set(index.places)
        if frame is not None:
            assert self.wanted.items is not None
            names = [] if index.fields is None else index.fields.names
            came = _new_items(module, data, names, frame, self.wanted.items)
            index.upsert(came.items)
            self.changed = dict(zip(came.items.ids, came.raw, strict=True))
            self.pictures = None if came.pictures is None else (came.pictures, came.items.ids)
        added = len(set(index.places) - before)
        changed = 0 if frame is None else len(frame) - added
        removed = index.remove(gone)
        print(f"added {added:,}, changed {changed:,}, removed {removed:,} of {len(gone):,} items that were named")
        if len(index) == 0:
            raise ValueError("no item would be left in the index; nothing was written")
        drift = drift_of(index)
        if drift.reasons:
            print(f"the index is made anew: {'; '.join(drift.reasons)}", flush=True)
            return made_anew(index)
        if drift.recall is not None:
            index.facts[RECALL_NOW] = round(drift.recall, 4)
        return index


def told_facts(facts: dict[str, Any]) -> str:
    """The kind of an index and how well it finds, in a line."""
    now = f" when it was built, {facts[RECALL_NOW]} now" if RECALL_NOW in facts else ""
    parts = [str(facts["kind"]), f"recall@100 {facts['recall_at_100']}{now}"]
    if "p99_ms" in facts:
        parts.append(f"p50 {facts['p50_ms']} ms, p99 {facts['p99_ms']} ms")
    return ", ".join(parts)


def _ids(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text of ids in UTF-8, a line each") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _fields(frame: pd.DataFrame, data: InteractionDataModule, ids: list[str] | Any) -> ItemFields | None:
    return fields_of_frame(frame, data.columns.item, ids)


class _Came(NamedTuple):
    """Items of a table: for the index, their vectors before they have length 1 [items, dim], and their pictures."""

    items: NewItems
    raw: NDArray[np.float32]
    pictures: ItemPictures | None


def _new_items(
    module: TwoTower, data: InteractionDataModule, columns: Collection[str], frame: pd.DataFrame, path: Path
) -> _Came:
    known: ItemTable = item_table(frame, data.columns.item, data.texts, data.category, data.picture, path)
    if len(known) == 0:
        raise ValueError(f"{path} has no rows: there is nothing to add")
    pictures = None if data.picture is None else ItemPictures(known.pictures, known.ids)
    raw = raw_item_vectors(module, known.ids, known.texts, pictures)
    rows = {name: values for name, values in values_of(_fields(frame, data, known.ids)).items() if name in columns}
    vectors = F.normalize(torch.from_numpy(raw), dim=-1).numpy()
    return _Came(NewItems(ids=known.ids, vectors=vectors, titles=known.titles, fields=rows), raw, pictures)
