"""`ItemIndex`: search for the items whose vectors are nearest to a user's, by FAISS."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

EXACT_UP_TO = 100_000  # items; exact search over these takes milliseconds
_RECALL_AT = 100
_FILES = ("items.faiss", "embeddings.npy", "items.json", "index.json")


class ItemIndex:
    """Vectors of a catalogue, with the ids of its items and the hash of the model that made them.

    Args:
        index: of FAISS, by inner product.
        ids: [items].
        titles: [items].
        model_sha256: of the model.
        facts: kind of index, how it searches, and the recall that was measured.
    """

    def __init__(
        self, index: Any, ids: Sequence[str], titles: Sequence[str], model_sha256: str, facts: dict[str, Any]
    ) -> None:
        self.index, self.ids, self.titles = index, list(ids), list(titles)
        self.model_sha256, self.facts = model_sha256, facts

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
    ) -> ItemIndex:
        """An exact index; for a large catalogue an inverted file that looks through as few lists as the recall allows.

        How many lists are looked through (`nprobe`) is doubled until the queries that were held out find this share of
        their exact 100 nearest items, and at worst all of them.

        Args:
            embeddings: [items, dim], unit norm.
            ids: [items] as in the data.
            titles: [items] to show people.
            model_sha256: of the model that made the embeddings, kept beside them.
            held_out: [queries, dim], of users whose queries trained nothing, to choose `nprobe` with.
            measured: [queries, dim], of others, by which the recall that is kept is measured; default the same.
            recall: share of the exact 100 nearest that must be found, in (0, 1].
            exact_up_to: the largest catalogue that is searched exactly.

        Raises:
            ValueError: no items, or no queries to measure with.
        """
        faiss = import_faiss()
        if len(embeddings) == 0 or len(embeddings) != len(ids):
            raise ValueError(f"an index needs one id for each of at least 1 item, got {len(embeddings)} and {len(ids)}")
        if not 0 < recall <= 1:
            raise ValueError(f"recall must be in (0, 1], got {recall}")
        vectors = np.ascontiguousarray(embeddings, np.float32)
        exact = faiss.IndexFlatIP(vectors.shape[1])
        exact.add(vectors)
        if len(vectors) <= exact_up_to:
            return cls(exact, ids, titles, model_sha256, {"kind": "exact (IndexFlatIP)", "recall_at_100": 1.0})
        if len(held_out) == 0:
            raise ValueError("an inverted index needs queries that were held out, to measure its recall; got none")
        lists = int(4 * np.sqrt(len(vectors)))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = 0
        index.train(vectors)
        index.add(vectors)
        wanted = np.ascontiguousarray(held_out, np.float32)
        found, probes = 0.0, 1
        _, nearest = exact.search(wanted, _RECALL_AT)
        while found < recall:
            index.nprobe = probes
            found = _shared(nearest, index.search(wanted, _RECALL_AT)[1])
            if probes >= lists:
                break
            probes = min(lists, 2 * probes)
        facts = {
            "kind": "inverted file (IndexIVFFlat)",
            "lists": lists,
            "nprobe": int(index.nprobe),
            "recall_at_100": round(found, 4),
            "held_out_queries": len(wanted),
        }
        if measured is not None and len(measured):
            others = np.ascontiguousarray(measured, np.float32)
            found = _shared(exact.search(others, _RECALL_AT)[1], index.search(others, _RECALL_AT)[1])
            facts |= {"recall_at_100": round(found, 4), "measured_queries": len(others)}
        return cls(index, ids, titles, model_sha256, facts)

    def search(self, query: Vectors, k: int, without: Collection[int] = ()) -> list[tuple[int, float]]:
        """The k nearest items to one vector, best first, as places in `ids`, with their cosines.

        Exactly k while so many are left, at the recall that was measured or more. That was measured for the 100 nearest
        of all items; where what is asked for lies deeper, because k is larger or because nearer items are left out,
        more lists are looked through in proportion, and at worst all of them, which is exact.

        Args:
            query: [dim], unit norm.
            k: how many, at least 1.
            without: places of items that are left out.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        count = len(self.ids)
        left_out = np.unique(np.fromiter(without, np.int64, len(without)))
        asked = min(k, count - len(left_out))
        if asked < 1:
            return []
        vector = np.ascontiguousarray(query[None], np.float32)
        selector = _all_but(left_out, count)
        probes = self.facts.get("nprobe")
        if probes is None:
            return self._found(vector, asked, selector, None)
        lists, depth = int(self.facts["lists"]), asked
        while True:
            looked_through = min(lists, int(probes) * -(-depth // _RECALL_AT))
            found = self._found(vector, asked, selector, looked_through)
            if looked_through == lists:
                return found
            if len(found) == asked:  # as deep among all items, those that are left out included
                depth = asked + self._nearer(vector, left_out, found[-1][1])
                if int(probes) * -(-depth // _RECALL_AT) <= looked_through:
                    return found
            else:
                depth = max(2 * depth, 2 * _RECALL_AT)

    def _found(self, vector: Vectors, asked: int, selector: Any, probes: int | None) -> list[tuple[int, float]]:
        faiss = import_faiss()
        kind = faiss.SearchParameters if probes is None else faiss.SearchParametersIVF
        how = {} if selector is None else {"sel": selector.selector}
        scores, items = self.index.search(
            vector, asked, params=kind(**how, **({} if probes is None else {"nprobe": probes}))
        )
        pairs = zip(items[0].tolist(), scores[0].tolist(), strict=True)
        return [(item, score) for item, score in pairs if item >= 0]

    def _nearer(self, vector: Vectors, left_out: NDArray[np.int64], score: float) -> int:
        """How many of the items that are left out are at least as near as this."""
        if len(left_out) == 0:
            return 0
        if self.index.direct_map.no():
            self.index.make_direct_map()
        return int((self.index.reconstruct_batch(left_out) @ vector[0] >= score).sum())

    def write(self, folder: Path, embeddings: Vectors) -> None:
        """Write items.faiss, embeddings.npy, items.json and index.json, which has the hashes of the others.

        The folder appears whole, in place of an earlier one.
        """
        folder = folder.resolve()
        part, old = (folder.with_name(f"{folder.name}.{name}") for name in ("part", "old"))
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        import_faiss().write_index(self.index, str(part / "items.faiss"))
        np.save(part / "embeddings.npy", embeddings.astype(np.float32))
        (part / "items.json").write_text(json.dumps({"ids": self.ids, "titles": self.titles}), encoding="utf-8")
        hashes = {name: _sha256(part / name) for name in _FILES[:-1]}
        facts = {**self.facts, "items": len(self.ids), "model_sha256": self.model_sha256, "sha256": hashes}
        (part / "index.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            folder.replace(old)
        part.replace(folder)
        shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def open(cls, folder: Path, model_sha256: str) -> ItemIndex:
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: there is no whole index.
            ValueError: another model made it, or its files are not those that were written.
        """
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{folder} holds no index ({', '.join(missing)} missing): test the run to make one")
        try:
            facts = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            made_by, hashes = facts.pop("model_sha256"), facts.pop("sha256")
            changed = [name for name in ("items.faiss", "items.json") if _sha256(folder / name) != hashes[name]]
        except (ValueError, KeyError, TypeError, AttributeError):
            changed = ["index.json"]
        if changed:
            raise ValueError(
                f"the index in {folder} is damaged: {' and '.join(changed)} is not what was written with it; test the "
                "run again to make it anew"
            )
        if made_by != model_sha256:
            raise ValueError(
                f"the index in {folder} was made by another model (hash {made_by[:12]}) than this one (hash "
                f"{model_sha256[:12]}): test the run again to make it anew"
            )
        names = json.loads((folder / "items.json").read_text(encoding="utf-8"))
        index = import_faiss().read_index(str(folder / "items.faiss"))
        return cls(index, names["ids"], names["titles"], made_by, facts)


@dataclass(frozen=True)
class _Selector:
    """A selector of FAISS, with the bits that it points to."""

    selector: Any
    bits: NDArray[np.uint8]


def _all_but(left_out: NDArray[np.int64], count: int) -> _Selector | None:
    """Selects the other items inside a search; None where none is left out."""
    if len(left_out) == 0:
        return None
    wanted = np.ones(count, bool)
    wanted[left_out] = False
    bits = np.packbits(wanted, bitorder="little")
    faiss = import_faiss()
    return _Selector(faiss.IDSelectorBitmap(count, faiss.swig_ptr(bits)), bits)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shared(exact: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    hits = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(exact, found, strict=True))
    return hits / exact.size


def import_faiss() -> Any:
    """FAISS, or an error that says how to get it."""
    try:
        import faiss
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'search needs faiss; install it with: python -m pip install "lightning-tl[retrieval]"'
        ) from None
    return faiss
