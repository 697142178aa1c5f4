"""What a summary says of an exported folder is what the folder is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from sentence_transformers import SentenceTransformer
from tiny_text import save_text_model
from torch import nn

from lightning_tl.adaptation import Adaptation, Adapters, Full, LoRA
from lightning_tl.backbones import Backbone, HuggingFaceText, TimmBackbone, TorchvisionResNet
from lightning_tl.reports.folder_kind import folder_kind

PIPELINES, NO_PIPELINES = "which pipelines of transformers read", "which pipelines do not read"


def texts(folder: Path, pooling: str) -> Backbone:
    return HuggingFaceText(str(save_text_model("bert", folder)), pooling=pooling, max_length=16)  # type: ignore[arg-type]


CASES: dict[str, tuple[Callable[[Path], Backbone], Adaptation, str]] = {
    "text, cls": (lambda f: texts(f, "cls"), Full(), f"a BertForSequenceClassification, {PIPELINES}"),
    "text, mean": (
        lambda f: texts(f, "mean"),
        Full(),
        f"a backbone/, which SentenceTransformer reads, and a head beside it, {NO_PIPELINES}",
    ),
    "images": (tiny.tiny_vit, Full(), f"a ViTForImageClassification, {PIPELINES}"),
    "timm": (lambda _: TimmBackbone("resnet10t", weights=False, image_size=32), Full(), "a timm model, resnet10t"),
    "torchvision": (
        lambda _: TorchvisionResNet("resnet18", weights=None, image_size=32),
        Full(),
        "a timm model, resnet18",
    ),
    "adapters": (
        lambda f: texts(f, "mean"),
        Adapters(4),
        "the trained parts and the head; their backbone (bert) is not in it",
    ),
    "LoRA": (lambda f: texts(f, "cls"), LoRA(r=2), f"a BertForSequenceClassification, {PIPELINES}"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_folder_is_what_is_said(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, adaptation, says = CASES[case]
    backbone = make(tmp_path)
    adaptation.apply(backbone)
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    adaptation.export(tmp_path / "model", backbone, nn.Linear(backbone.feature_dim, 2), ("a", "b"), trained)
    assert folder_kind(tmp_path / "model") == says
    if "SentenceTransformer" in says:
        encoder = SentenceTransformer(str(tmp_path / "model" / "backbone"), device="cpu")
        assert encoder.encode(["a boat"]).shape == (1, backbone.feature_dim)


def test_other_folders_are_of_no_known_kind(tmp_path: Path) -> None:
    assert folder_kind(tmp_path) is None
