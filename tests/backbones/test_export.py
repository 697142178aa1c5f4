"""Exported models: read back by their family's own loader with identical logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
import transformers
from PIL import Image
from torch import nn

import lightning_tl.backbones
from lightning_tl.backbones import (
    Backbone,
    ExportedClassifier,
    HuggingFaceVision,
    TimmBackbone,
    TorchvisionResNet,
    load_exported,
)
from lightning_tl.backbones.heads import classification_head

NAMES = ("forest", "cropland", "urban", "water", "barren", "wetland")
VIT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS: dict[str, Any] = {
    "vit": transformers.ViTConfig(**VIT, intermediate_size=64, image_size=16, patch_size=4),
    "dinov2": transformers.Dinov2Config(**VIT, image_size=28, patch_size=7),
    "swin": transformers.SwinConfig(
        embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=2, image_size=16, patch_size=2
    ),
    "convnext": transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32),
}
OTHERS = {
    "timm_vit": ("vit_tiny_patch16_224", {"image_size": 32}),
    "timm_resnet": ("resnet10t", {"image_size": 32}),
    "timm_efficientnet": ("efficientnet-lite0", {"image_size": 64}),
}


def backbone_of(family: str, folder: Path, **arguments: Any) -> Backbone:
    """A backbone of tiny or random weights, far enough from their initialisation that zeros hide nothing."""
    torch.manual_seed(0)
    backbone: Backbone
    if family in CONFIGS:
        CONFIGS[family].save_pretrained(folder / "source")
        backbone = HuggingFaceVision(str(folder / "source"), weights=False, **arguments)
    elif family == "torchvision":
        backbone = TorchvisionResNet("resnet18", weights=None, image_size=32, **arguments)
    else:
        name, own = OTHERS[family]
        backbone = TimmBackbone(name, weights=False, **{**own, **arguments})
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return backbone


def batch(backbone: Backbone) -> torch.Tensor:
    spec = backbone.input_spec
    return torch.randn(3, spec.channels, spec.image_size, spec.image_size, generator=torch.Generator().manual_seed(2))


def read_back(line: str) -> Any:
    """Run the line of Python that `export` returned."""
    scope: dict[str, Any] = {
        "timm": timm,
        "torchvision": torchvision,
        "transformers": transformers,
        "safetensors": safetensors,
        "lightning_tl": lightning_tl,
    }
    if line.startswith("model = "):
        exec(line, scope)
        return scope["model"].eval()
    return eval(line, scope).eval()


def logits_of(model: Any, x: torch.Tensor) -> torch.Tensor:
    out = model(x)
    return out if isinstance(out, torch.Tensor) else out.logits


@torch.no_grad()
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("family", [*CONFIGS, *OTHERS, "torchvision"])
def test_linear_head_in_the_familys_own_format(family: str, dropout: float, tmp_path: Path) -> None:
    backbone = backbone_of(family, tmp_path)
    head = classification_head(backbone.feature_dim, 6, dropout=dropout)
    backbone.train()
    line = backbone.export(tmp_path / "model", head, NAMES)
    assert backbone.training
    assert head.training
    assert "lightning_tl" not in line
    assert (tmp_path / "model" / "model.safetensors").is_file()
    expected = head.eval()(backbone.eval()(batch(backbone)))
    torch.testing.assert_close(logits_of(read_back(line), batch(backbone)), expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        ("vit", {"channels": 5}),
        ("vit", {"image_size": 24}),
        ("dinov2", {"channels": 1, "image_size": 42}),
        ("swin", {"image_size": 32}),
        ("timm_vit", {"channels": 5, "image_size": 48}),
        ("timm_resnet", {"channels": 2}),
    ],
)
def test_adapted_inputs_survive(family: str, arguments: dict[str, int], tmp_path: Path) -> None:
    backbone = backbone_of(family, tmp_path, **arguments).eval()
    head = nn.Linear(backbone.feature_dim, 6)
    line = backbone.export(tmp_path / "model", head, NAMES)
    expected = head(backbone(batch(backbone)))
    torch.testing.assert_close(logits_of(read_back(line), batch(backbone)), expected, rtol=1e-6, atol=1e-6)
    # and the exported folder is a source of pretrained weights like any other
    again = type(backbone)(str(tmp_path / "model")).eval()
    assert again.input_spec == backbone.input_spec
    torch.testing.assert_close(again(batch(backbone)), backbone(batch(backbone)), rtol=1e-6, atol=1e-6)


PAIRS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("vit", {}, {"hidden": 8}),
    ("vit", {}, {"hidden": 8, "dropout": 0.2}),
    ("vit", {"pooling": "mean"}, {}),
    ("dinov2", {"pooling": "mean"}, {"hidden": 8}),
    ("convnext", {}, {"hidden": 8}),
    ("timm_vit", {}, {"hidden": 8}),
    ("timm_resnet", {"channels": 4}, {"hidden": 8}),
    ("torchvision", {}, {"hidden": 8}),
    ("torchvision", {"channels": 4}, {}),
]


@torch.no_grad()
@pytest.mark.parametrize(("family", "arguments", "head_arguments"), PAIRS)
def test_other_heads_as_a_pair(
    family: str, arguments: dict[str, Any], head_arguments: dict[str, Any], tmp_path: Path
) -> None:
    backbone = backbone_of(family, tmp_path, **arguments)
    head = classification_head(backbone.feature_dim, 6, **head_arguments)
    line = backbone.export(tmp_path / "model", head, NAMES)
    assert line == f'lightning_tl.backbones.load_exported("{tmp_path / "model"}")'
    assert not (tmp_path / "model" / "config.json").exists()  # nothing that another loader would misread
    model = read_back(line)
    assert isinstance(model, ExportedClassifier)
    assert model.class_names == NAMES
    assert model.backbone.input_spec == backbone.input_spec
    expected = head.eval()(backbone.eval()(batch(backbone)))
    torch.testing.assert_close(model(batch(backbone)), expected, rtol=1e-6, atol=1e-6)


class CosineHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(features) @ nn.functional.normalize(self.weight).T


@torch.no_grad()
def test_head_of_an_own_class(tmp_path: Path) -> None:
    backbone = backbone_of("vit", tmp_path).eval()
    head = CosineHead(32)
    line = backbone.export(tmp_path / "model", head, NAMES)
    assert line.endswith("head=CosineHead(...))")
    with pytest.raises(ValueError, match=r"the head in .* is of a class of its own: pass one of this"):
        load_exported(tmp_path / "model")
    model = load_exported(tmp_path / "model", head=CosineHead(32))
    torch.testing.assert_close(model(batch(backbone)), head(backbone(batch(backbone))))


def test_load_exported_refuses_other_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no classifier\.json"):
        load_exported(tmp_path)
    backbone = backbone_of("vit", tmp_path)
    backbone.export(tmp_path / "model", classification_head(32, 6, hidden=8), NAMES)
    file = tmp_path / "model" / "classifier.json"
    settings = json.loads(file.read_text())
    settings["backbone"]["class"] = "load_exported"
    file.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="names the backbone 'load_exported'; known: ColourStatistics, Hugg"):
        load_exported(tmp_path / "model")


@torch.no_grad()
def test_pipeline_reads_the_folder(tmp_path: Path) -> None:
    backbone = backbone_of("vit", tmp_path, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)).eval()
    head = nn.Linear(32, 6)
    backbone.export(tmp_path / "model", head, NAMES)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    answers = transformers.pipeline("image-classification", str(tmp_path / "model"))(Image.fromarray(pixels), top_k=6)
    spec = backbone.input_spec
    x = (torch.tensor(pixels).permute(2, 0, 1) / 255 - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[
        :, None, None
    ]
    expected = head(backbone(x[None])).softmax(-1)[0]
    assert {answer["label"] for answer in answers} == set(NAMES)
    for answer in answers:
        assert answer["score"] == pytest.approx(float(expected[NAMES.index(answer["label"])]), abs=1e-5)


def test_names_and_settings_are_written(tmp_path: Path) -> None:
    for family in ("vit", "timm_resnet", "torchvision"):
        backbone = backbone_of(family, tmp_path)
        backbone.export(tmp_path / family, nn.Linear(backbone.feature_dim, 6), NAMES)
        settings = json.loads((tmp_path / family / "config.json").read_text())
        names = settings.get("label_names") or settings.get("class_names") or list(settings["id2label"].values())
        assert tuple(names) == NAMES
    config = transformers.AutoConfig.from_pretrained(tmp_path / "vit")
    assert config.id2label == dict(enumerate(NAMES))
    assert config.label2id["wetland"] == 5


def test_dinov2_reads_patches_with_weight_zero(tmp_path: Path) -> None:
    backbone = backbone_of("dinov2", tmp_path)
    backbone.export(tmp_path / "model", nn.Linear(32, 6), NAMES)
    weight = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "model").classifier.weight
    assert weight.shape == (6, 64)
    assert not weight[:, 32:].any()
