"""Families of backbones × adaptations as graphs: each answers as torch does, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from lightning_tl.adaptation import LoRA, Prompts
from lightning_tl.backbones import (
    ColourStatistics,
    HuggingFaceText,
    HuggingFaceVision,
    Tfidf,
    TimmBackbone,
    TorchvisionResNet,
)
from lightning_tl.bundling.counted_words import CountedWords
from lightning_tl.bundling.graph import TOLERANCE, write_graph
from lightning_tl.strategies import FineTune

_SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32}


def vision(folder: Path, kind: Any, config: Any) -> HuggingFaceVision:
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    return HuggingFaceVision(str(folder))


BACKBONES: dict[str, Any] = {
    "dinov2": lambda folder: vision(folder, hf.Dinov2Model, hf.Dinov2Config(patch_size=8, **_SIZES)),
    "swin": lambda folder: vision(
        folder,
        hf.SwinModel,
        hf.SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4),
    ),
    "convnext": lambda folder: vision(
        folder, hf.ConvNextModel, hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32)
    ),
    "colour statistics": lambda folder: ColourStatistics(),
    "timm": lambda folder: TimmBackbone("resnet10t", weights=False),
    "torchvision": lambda folder: TorchvisionResNet("resnet18", weights=None),
    "efficientnet": lambda folder: TimmBackbone("test_efficientnet", weights=False),
}


WHOLE = [pytest.param(name, marks=pytest.mark.whole) for name in ("swin", "convnext", "timm", "torchvision")]


@pytest.mark.parametrize("name", ["dinov2", "colour statistics", "efficientnet", *WHOLE])
def test_images(name: str, tmp_path: Path) -> None:
    module = FineTune(BACKBONES[name](tmp_path), num_classes=3, head_hidden=5)
    module.configure_model()
    assert write_graph(module.eval(), tmp_path / "model.onnx")[0] < TOLERANCE


@pytest.mark.parametrize(("family", "adaptation"), [("mpnet", Prompts(3)), ("roberta", LoRA()), ("bert", Prompts(3))])
def test_texts(family: str, adaptation: Any, saved_models: Path, tmp_path: Path) -> None:
    module = FineTune(HuggingFaceText(str(saved_models / family), max_length=30), adaptation, num_classes=3)
    module.configure_model()
    with torch.no_grad():  # as if it had been trained
        for parameter in module.parameters():
            parameter.add_(0.01)
    assert write_graph(module.eval(), tmp_path / "model.onnx")[0] < TOLERANCE


def test_word_counts_are_added_up_in_the_graph(saved_models: Path, tmp_path: Path) -> None:
    module = FineTune(Tfidf(str(saved_models / "bert"), buckets=8), num_classes=3)
    module.configure_model()
    module.backbone.inverse_frequency.copy_(torch.rand(module.backbone.feature_dim))
    assert write_graph(module.eval(), tmp_path / "model.onnx")[0] < TOLERANCE
    inputs = module.backbone.example_inputs(5, 40)  # pieces occur several times
    inputs["input_ids"] %= 6
    inputs["attention_mask"] = (torch.arange(40) < torch.tensor([0, 1, 2, 17, 40])[:, None]).long()
    with torch.no_grad():
        found = CountedWords(module.backbone)(inputs)
    torch.testing.assert_close(found, module.backbone(inputs), atol=1e-6, rtol=0)
    assert found[0].count_nonzero() == 0 and len(found[4].unique()) > 4
