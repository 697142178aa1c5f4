"""`open_bundle`: a bundle's model, in a process that need not have torch."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_tl.serving.answering import ModelFacts, PredictingModel, RecommendingModel
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.onnx_predictor import OnnxPredictor
from lightning_tl.serving.models.shared_sessions import SharedSessions

if TYPE_CHECKING:
    from lightning_tl.search.vector_store import Catalogue
    from lightning_tl.serving.models.profile_codes import ProfileCodes

OpenStore = Callable[[str], "Catalogue"]
INDEX = "index"  # the folder of an index, in a run and in a bundle
_EXAMPLES = 20  # users


class QueryTower(Protocol):
    """Makes vectors of queries, see `Encode`, and says of which items it reads histories."""

    def __call__(
        self, histories: Sequence[Sequence[str]], profiles: Sequence[Mapping[str, str] | None]
    ) -> NDArray[np.float32]:
        """[queries, dim], unit norm."""
        ...

    def reads(self, ids: Sequence[str]) -> list[bool]:
        """Whether each is an item that histories are read by."""
        ...


def open_bundle(
    folder: Path | str, threads: int = 1, store: OpenStore | None = None, sessions: SharedSessions | None = None
) -> PredictingModel | RecommendingModel:
    """The model of a bundle, ready to answer.

    Args:
        folder: that `lightning-tl export` wrote.
        threads: of one answer.
        store: opens a store in which items are searched in place of the bundle's own index, given the hash of the model
            that made its vectors; None for the index.
        sessions: handed to each of several bundles over the same frozen backbone, which they then share.

    Raises:
        FileNotFoundError: no bundle, or a file of it is missing.
        ValueError: it is damaged, was changed, or is of a later version; or it recommends nothing, and has a store.
        OSError: the store does not answer, or holds vectors of another model.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    if manifest.kind == "recommendations":
        return recommender_of(folder, manifest, functools.partial(_tower, folder, manifest, threads), store)
    if store is not None:
        raise ValueError(f"the bundle in {folder} is of {manifest.kind}: a store belongs to recommendations")
    return OnnxPredictor(folder, manifest, threads, sessions)


def _tower(folder: Path, manifest: Manifest, threads: int, codes: ProfileCodes, names: Sequence[str]) -> QueryTower:
    from lightning_tl.serving.models.history_texts import HistoryTexts
    from lightning_tl.serving.models.user_tower import UserTower

    reads = manifest.reads.get("history_texts")
    texts = None if reads is None else HistoryTexts(folder, reads, len(names))
    numbers = {name: row for row, name in enumerate(names) if name}
    return UserTower(folder, numbers, codes, int(manifest.reads["history_length"]), threads, texts)


def recommender_of(
    folder: Path,
    manifest: Manifest,
    make_tower: Callable[[ProfileCodes, Sequence[str]], QueryTower],
    open_store: OpenStore | None = None,
    pictures: Mapping[str, bytes] | None = None,
) -> RecommendingModel:
    """What recommends by the files of a bundle, and any way to compute the vectors of queries.

    Args:
        folder: with the index and the users.
        manifest: of the model.
        make_tower: from codes of profiles, and ids of the items by the numbers that histories have them by.
        open_store: see `open_bundle`.
        pictures: by an item's id a small image file; None for those in the folder.
    """
    from lightning_tl.search import FaissStore, ItemIndex  # here, so that classifiers need no FAISS
    from lightning_tl.serving.models.indexed_recommender import IndexedRecommender
    from lightning_tl.serving.models.profile_codes import ProfileCodes
    from lightning_tl.serving.models.thumbnails import Thumbnails
    from lightning_tl.serving.models.user_tower import read_history_items
    from lightning_tl.serving.models.users_file import read_users

    catalogue: Catalogue
    card = _card(folder, manifest)
    if open_store is None:
        index = ItemIndex.open(folder / INDEX, None)
        catalogue, ids, version = FaissStore(index), index.ids, manifest.version
    else:
        told = json.loads((folder / INDEX / "index.json").read_text(encoding="utf-8"))
        ids = json.loads((folder / INDEX / "items.json").read_text(encoding="utf-8"))["ids"]
        catalogue = open_store(told["model_sha256"])
        card["index"] = {"kind": str(catalogue.facts["kind"])}
        version = hashlib.sha256(f"{manifest.version} in a store".encode()).hexdigest()
    codes, length = ProfileCodes(manifest.reads["profile"]), int(manifest.reads["history_length"])
    names = read_history_items(folder, ids)
    users = read_users(folder, names, codes, manifest.reads["exclude"] != "none")
    facts = ModelFacts(
        kind="recommendations",
        version=version,
        task=manifest.task,
        reads=manifest.reads,
        card={**card, "example_users": list(users.histories)[:_EXAMPLES]},
    )
    tower = make_tower(codes, names)
    shown = Thumbnails(folder) if pictures is None else pictures
    more: dict[str, Any] = {"reads_profiles": True, "reads": tower.reads, "pictures": shown}
    return IndexedRecommender(facts, tower, catalogue, users, length, **more)


def _card(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """The bundle's card with what is known once it is open: when its index was written."""
    index = {"built": (folder / INDEX).stat().st_mtime, **dict(manifest.card.get("index") or {})}
    return {**manifest.card, "index": index}
