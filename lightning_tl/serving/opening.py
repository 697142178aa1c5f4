"""`open_bundle`: a bundle's model, in a process that need not have torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_tl.serving.answering import ModelFacts, PredictingModel, RecommendingModel
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.onnx_predictor import OnnxPredictor

INDEX = "index"  # the folder of an index, in a run and in a bundle
_EXAMPLES = 20  # users


def open_bundle(folder: Path | str, threads: int = 1) -> PredictingModel | RecommendingModel:
    """The model of a bundle, ready to answer.

    Args:
        folder: that `lightning-tl export` wrote.
        threads: of one answer.

    Raises:
        FileNotFoundError: no bundle, or a file of it is missing.
        ValueError: it is damaged, was changed, or is of a later version.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    return (_recommender if manifest.kind == "recommendations" else OnnxPredictor)(folder, manifest, threads)


def _recommender(folder: Path, manifest: Manifest, threads: int) -> RecommendingModel:
    from lightning_tl.search import FaissStore, ItemIndex  # here, so that classifiers need no FAISS
    from lightning_tl.serving.models.indexed_recommender import IndexedRecommender
    from lightning_tl.serving.models.profile_codes import ProfileCodes
    from lightning_tl.serving.models.user_tower import UserTower, read_history_items
    from lightning_tl.serving.models.users_file import read_users

    index = ItemIndex.open(folder / INDEX, None)
    codes, length = ProfileCodes(manifest.reads["profile"]), int(manifest.reads["history_length"])
    names = read_history_items(folder, index.ids)
    users = read_users(folder, names, codes, manifest.reads["exclude"] != "none")
    facts = ModelFacts(
        kind="recommendations",
        version=manifest.version,
        task=manifest.task,
        reads=manifest.reads,
        card=_card(folder, manifest, list(users.histories)[:_EXAMPLES]),
    )
    tower = UserTower(folder, {name: row for row, name in enumerate(names) if name}, codes, length, threads)
    return IndexedRecommender(facts, tower, FaissStore(index), users, length, reads_profiles=True, reads=tower.reads)


def _card(folder: Path, manifest: Manifest, users: list[str]) -> dict[str, Any]:
    """The bundle's card with what is known once it is open: when its index was written, and a few users to try."""
    index = {"built": (folder / INDEX).stat().st_mtime, **dict(manifest.card.get("index") or {})}
    return {**manifest.card, "index": index, "example_users": users}
