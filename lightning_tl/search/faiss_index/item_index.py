"""`ItemIndex`: search for the items whose vectors are nearest to a user's, by FAISS."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.search.faiss_index.building import build_index
from lightning_tl.search.faiss_index.faiss_search import FaissSearch
from lightning_tl.search.faiss_index.index_files import FIELDS, FILES, checked_card, read_whole, replace_folder, sha256
from lightning_tl.search.faiss_index.kept_vectors import KeptVectors
from lightning_tl.search.faiss_index.kinds import EXACT_UP_TO
from lightning_tl.search.faiss_library import import_faiss
from lightning_tl.search.item_fields import ItemFields
from lightning_tl.search.vector_store import NewItems, checked_items

Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]

KEPT_QUERIES = 500  # of those that were held out, and as many of those that measured
QUERIES = "queries.npy"
GONE = ""  # the id of a place whose item was removed, or changed and is at another place now


class ItemIndex:
    """Vectors of a catalogue, with the ids of its items and the hash of the model that made them.

    An item has a place, its number in `ids`. One that changes gets a new place at the end, and its old one is gone.

    Args:
        index: of FAISS, by inner product.
        ids: [items].
        titles: [items].
        model_sha256: of the model.
        facts: kind of index, how it searches, and the recall that was measured.
        vectors: [items, dim]; None takes those that an exact index holds.
        fields: columns to filter by.
        queries: [queries, dim] by which its recall is watched; None for none.
    """

    def __init__(
        self,
        index: Any,
        ids: Sequence[str],
        titles: Sequence[str],
        model_sha256: str,
        facts: dict[str, Any],
        vectors: Vectors | None = None,
        fields: ItemFields | None = None,
        queries: Vectors | None = None,
    ) -> None:
        self.index, self.ids, self.titles = index, list(ids), list(titles)
        self.model_sha256, self.facts, self.fields = model_sha256, facts, fields
        self.queries = queries
        if vectors is None:
            vectors = index.reconstruct_n(0, index.ntotal)
        self.kept = KeptVectors(vectors)
        self.alive = np.array([name != GONE for name in self.ids], bool)
        self.places = {name: place for place, name in enumerate(self.ids) if name != GONE}
        self.searching = self._searching()

    def _searching(self) -> FaissSearch:
        efforts = self.facts.get("efforts")
        if efforts is None:  # as earlier versions wrote it
            efforts = [[100, int(self.facts["nprobe"])]] if "nprobe" in self.facts else []
        return FaissSearch(self.index, self.kept, efforts, int(self.facts.get("ranked_again", 0)))

    @classmethod
    def build(
        cls,
        embeddings: Vectors,
        ids: Sequence[str],
        titles: Sequence[str],
        model_sha256: str,
        held_out: Vectors,
        measured: Vectors | None = None,
        recall: float = 0.99,
        exact_up_to: int = EXACT_UP_TO,
        kind: str = "auto",
        memory_limit: int | None = None,
        latency_ms: float | None = None,
        fields: ItemFields | None = None,
    ) -> ItemIndex:
        """An index of the wanted kind, which looks no harder than the recall asks.

        How many lists of an inverted file are looked through, or how many candidates a graph follows, is raised until
        the queries that were held out find this share of their exact 100 nearest items, and of so many more where a
        filter makes it look deeper.

        Args:
            embeddings: [items, dim], unit norm.
            ids: [items] as in the data.
            titles: [items] to show people.
            model_sha256: of the model that made the embeddings, kept beside them.
            held_out: [queries, dim], of users whose queries trained nothing, to tune with.
            measured: [queries, dim], of others, by which the recall that is kept is measured; default the same.
            recall: share of the exact nearest that must be found, in (0, 1].
            exact_up_to: the largest catalogue that `auto` searches exactly.
            kind: see `lightning_tl.search.faiss_index.kinds.plan_of`; `auto` by the catalogue's size and the limits.
            memory_limit: bytes that the index itself may take.
            latency_ms: what 99 of 100 single queries may take; `auto` tries on where the first kind takes longer.
            fields: columns to filter by, a row for each item.

        Raises:
            ValueError: no items, NaN, no queries to measure with, or no kind that fits.
        """
        if len(embeddings) == 0 or len(embeddings) != len(ids):
            raise ValueError(f"an index needs one id for each of at least 1 item, got {len(embeddings)} and {len(ids)}")
        vectors = np.ascontiguousarray(embeddings, np.float32)
        bad = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(bad):
            raise ValueError(f"the vector of item '{ids[bad[0]]}' has NaN or infinity: no index was made")
        if fields is not None and len(fields) != len(ids):
            raise ValueError(f"fields must have a row for each of {len(ids):,} items, got {len(fields):,}")
        index, facts = build_index(vectors, held_out, measured, recall, exact_up_to, kind, memory_limit, latency_ms)
        kept = np.concatenate([part[:KEPT_QUERIES] for part in (held_out, measured) if part is not None])
        watched = kept if "asked_recall" in facts else None
        return cls(index, ids, titles, model_sha256, facts, vectors, fields, watched)

    def __len__(self) -> int:
        return int(self.alive.sum())

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.kept.dim

    def search(self, query: Vectors, k: int, without: Collection[int] = ()) -> list[tuple[int, float]]:
        """The k nearest items to one vector, best first, as places in `ids`, with their cosines.

        Exactly k while so many are left, at the recall that was measured or more, see `FaissSearch`.

        Args:
            query: [dim], unit norm.
            k: how many, at least 1.
            without: places of items that are left out.

        Raises:
            ValueError: k below 1, or a query that is not finite.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if not np.isfinite(query).all():
            raise ValueError("the query is not finite (NaN or infinite): nothing is nearest to it")
        mask: Mask | None = None
        left_out = np.unique(np.fromiter(without, np.int64, len(without)))
        if len(left_out):
            mask = self.alive.copy()
            mask[left_out] = False
        places, scores = self.nearest(np.ascontiguousarray(query[None], np.float32), k, mask)
        return list(zip(places[0].tolist(), scores[0].tolist(), strict=True))

    def nearest(self, queries: Vectors, k: int, mask: Mask | None = None) -> tuple[NDArray[np.int64], Vectors]:
        """The k nearest places to each query with their cosines: both [queries, min(k, items left)].

        Args:
            queries: [queries, dim], finite.
            k: at least 1.
            mask: [places] whether each may be found, none that is gone; None for all.
        """
        if mask is None and not self.searching.inverted and not self.alive.all():
            mask = self.alive
        if mask is None and self.index.ntotal < len(self.kept):
            k = min(k, self.index.ntotal)
        return self.searching.search(queries, k, mask)

    def upsert(self, items: NewItems) -> None:
        """See `VectorStore.upsert`."""
        vectors = checked_items(items, self.dim)
        fields = self.fields
        if fields is not None:
            fields = fields.extended(items.fields, len(items.ids))
        elif items.fields:
            raise ValueError(f"this index has no columns to filter by, and new items have {', '.join(items.fields)}")
        self.remove(items.ids)
        start = len(self.ids)
        if self.searching.inverted:
            self.index.add_with_ids(vectors, np.arange(start, start + len(vectors)))
        else:
            self.index.add(vectors)
        self.fields = fields
        self.kept.append(vectors)
        self.ids.extend(items.ids)
        self.titles.extend(items.titles or [""] * len(vectors))
        self.alive = np.concatenate([self.alive, np.ones(len(vectors), bool)])
        self.places.update({name: start + number for number, name in enumerate(items.ids)})

    def remove(self, ids: Sequence[str]) -> int:
        """See `VectorStore.remove`."""
        gone = np.array([self.places.pop(name) for name in dict.fromkeys(ids) if name in self.places], np.int64)
        if len(gone) and self.searching.inverted:
            self.index.remove_ids(import_faiss().IDSelectorBatch(gone))
        self.alive[gone] = False
        for place in gone.tolist():
            self.ids[place], self.titles[place] = GONE, ""
        return len(gone)

    def copied(self) -> ItemIndex:
        """With names of its own and the vectors as they are now, to be read from while this one changes."""
        facts = dict(self.facts)
        return ItemIndex(
            self.index, self.ids, self.titles, self.model_sha256, facts, self.kept.all(), self.fields, self.queries
        )

    # ---------------------------------------------------------------- files

    def write(self, folder: Path, embeddings: Vectors | None = None) -> None:
        """Write items.faiss, embeddings.npy, items.json and index.json, which has the hashes of the others.

        The folder appears whole, in place of an earlier one.

        Args:
            folder: its place.
            embeddings: [items, dim] to be kept in place of the index's own.

        Raises:
            OSError: it cannot be written, as on a full disk; an earlier one stays.
        """
        vectors = self.kept.all() if embeddings is None else embeddings.astype(np.float32)
        replace_folder(folder, lambda part: self._write(part, vectors))

    def _write(self, part: Path, vectors: Vectors) -> None:
        try:
            import_faiss().write_index(self.index, str(part / "items.faiss"))
        except RuntimeError as error:  # which FAISS raises for a full disk, too
            raise OSError(f"{part / 'items.faiss'} cannot be written: {error}") from None
        np.save(part / "embeddings.npy", vectors)
        (part / "items.json").write_text(json.dumps({"ids": self.ids, "titles": self.titles}), encoding="utf-8")
        names = list(FILES[:-1])
        if self.fields is not None:
            pq.write_table(self.fields.table, part / FIELDS)
            names.append(FIELDS)
        if self.queries is not None:
            np.save(part / QUERIES, self.queries.astype(np.float32))
            names.append(QUERIES)
        hashes = {name: sha256(part / name) for name in names}
        facts = {**self.facts, "items": len(self), "model_sha256": self.model_sha256, "sha256": hashes}
        (part / "index.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def open(cls, folder: Path, model_sha256: str | None) -> ItemIndex:
        """Read what `write` wrote; the vectors stay in their file, mapped into memory.

        Args:
            folder: of the index.
            model_sha256: of the model that asks; None takes an index of any.

        Raises:
            FileNotFoundError: there is no whole index.
            ValueError: another model made it, or its files are not those that were written.
        """
        found: ItemIndex = read_whole(folder, lambda place: cls._read(place, folder, model_sha256))
        return found

    @classmethod
    def _read(cls, place: Path, folder: Path, model_sha256: str | None) -> ItemIndex:
        facts = checked_card(place)
        made_by, hashes = facts.pop("model_sha256"), facts.pop("sha256")
        if model_sha256 is not None and made_by != model_sha256:
            raise ValueError(
                f"the index in {folder} was made by another model (hash {made_by[:12]}) than this one (hash "
                f"{model_sha256[:12]}): test the run again to make it anew"
            )
        names = json.loads((place / "items.json").read_text(encoding="utf-8"))
        index = import_faiss().read_index(str(place / "items.faiss"))
        vectors = np.load(place / "embeddings.npy", mmap_mode="r")
        fields = ItemFields(pq.read_table(place / FIELDS)) if FIELDS in hashes else None
        queries = np.load(place / QUERIES) if QUERIES in hashes else None
        if vectors.shape != (len(names["ids"]), index.d):
            raise ValueError(
                f"the index in {folder} is damaged: embeddings.npy is {list(vectors.shape)} for {len(names['ids'])} "
                f"items of length {index.d}; test the run again to make it anew"
            )
        return cls(index, names["ids"], names["titles"], made_by, facts, vectors, fields, queries)
