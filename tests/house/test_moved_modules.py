"""Modules are found by the paths that they had in the first version."""

from __future__ import annotations

import importlib
import pickle
import sys
import warnings

import pytest

import lightning_tl  # noqa: F401
from lightning_tl.contracts import layer_groups
from lightning_tl.moved_modules import place_of

MOVED = {
    "datamodules.image_files": "lightning_tl.inputs.image_files",
    "datamodules.classification_data": "datamodules.labelled.classification_data",
    "datamodules.event_files": "datamodules.events.reading.event_files",
    "lightning_tl.batches": "lightning_tl.contracts.batches",
    "lightning_tl.interactions": "lightning_tl.contracts.interactions",
    "lightning_tl.module": "lightning_tl.training.transfer_module",
    "lightning_tl.backbones.hugging_face_text": "lightning_tl.backbones.hugging_face.texts.hugging_face_text",
    "lightning_tl.reports.confusion_picture": "lightning_tl.reports.pictures.confusion_picture",
    "lightning_tl.retrieval.taken_items": "lightning_tl.retrieval.negatives.taken_items",
    "lightning_tl.retrieval.item_pictures": "lightning_tl.retrieval.towers.item_pictures",
    "lightning_tl.retrieval.index.item_index": "lightning_tl.search.faiss_index.item_index",
    "lightning_tl.cli.recommend_options": "lightning_tl.cli.commands.recommend_options",
}


@pytest.mark.parametrize(("old", "now"), MOVED.items())
def test_old_paths_lead_to_the_modules(old: str, now: str) -> None:
    module = importlib.import_module(now)
    spec = module.__spec__
    sys.modules.pop(old, None)
    with pytest.warns(FutureWarning, match=f"{old} is {now} now"):
        assert importlib.import_module(old) is module
    assert module.__spec__ is spec and module.__name__ == now


def test_classes_are_the_same_and_can_be_pickled() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightning_tl.layer_groups import LayerGroup  # type: ignore[import-not-found]
    assert LayerGroup is layer_groups.LayerGroup
    group = LayerGroup("head", frozenset({"head.weight"}), ())
    assert pickle.loads(pickle.dumps(group)) == group


@pytest.mark.parametrize(
    "name", ["lightning_tl.nothing", "datamodules.mine", "lightning_tl.__main__", "torch.base", "lightning_tl.ranks"]
)
def test_others_are_not_found(name: str) -> None:
    """Nor is one whose name several files have."""
    assert place_of(name) is None


def test_rooms_that_have_the_name_of_a_module_offer_its_names() -> None:
    from datamodules.loading import ResumableLoader, SeededItems  # noqa: F401
    from datamodules.tables import read_table  # noqa: F401
    from lightning_tl.retrieval.ranking import EmbeddingScorer, ranks, top_items  # noqa: F401
    from lightning_tl.strategies.zero_shot import ZeroShot  # noqa: F401
