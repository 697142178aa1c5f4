"""`ImageTextPair`: any two towers that were trained together, as one backbone of images with texts beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_dense import dense_backbone
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.adaptation import Frozen, Full, LoRA
from lightning_tl.backbones import (
    Backbone,
    EmbedsTexts,
    HuggingFaceCLIP,
    HuggingFaceText,
    ImageTextPair,
    TimmBackbone,
    load_exported,
)
from lightning_tl.backbones.hugging_face.dual_encoder import DualEncoder, linear
from lightning_tl.contracts.layer_groups import check_partition

SAID = ["a red dress", "the old boat was wet", "fish"]
IMAGES: dict[str, Callable[[Path], Backbone]] = {
    "timm": lambda folder: TimmBackbone("test_vit", image_size=32, weights=False, mean=(0.1, 0.2, 0.3)),
    "torchvision": lambda folder: dense_backbone("torchvision", folder),
}


def pair(kind: str, models: Path, folder: Path) -> DualEncoder:
    torch.manual_seed(0)
    image, text = IMAGES[kind](folder), HuggingFaceText(str(models / "minilm"), pooling="mean")
    images, texts = (linear(torch.randn(6, tower.feature_dim)) for tower in (image, text))
    return DualEncoder(image.eval(), text.eval(), images, texts, torch.tensor(3.0))


def images(backbone: Backbone) -> Tensor:
    return backbone.example_inputs(3)  # type: ignore[no-any-return]


@torch.no_grad()
@pytest.mark.parametrize("kind", IMAGES)
def test_it_gives_the_vectors_of_both_towers(kind: str, saved_models: Path, tmp_path: Path) -> None:
    made = pair(kind, saved_models, tmp_path)
    made.save(tmp_path / "model")
    assert "is no model of transformers" in made.why_not() and made.why_no_pair() == ""
    opened = ImageTextPair(str(tmp_path / "model")).eval()
    assert isinstance(opened, EmbedsTexts) and opened.input_spec == made.image.input_spec
    shown = images(opened)
    torch.testing.assert_close(opened(shown), made.image_projection(made.image(shown)))
    expected = made.text_projection(made.text(made.text.tokenize(SAID)))
    with torch.device("meta"):  # as inside the Trainer, where tensors are made on the accelerator
        found = opened.embed_texts(SAID)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert opened.temperature == pytest.approx(float(torch.exp(torch.tensor(-3.0)))) and opened.feature_dim == 6
    with pytest.raises(ValueError, match=r"no one model; open it with lightning_tl.backbones.ImageTextPair"):
        HuggingFaceCLIP(str(tmp_path / "model"))


@pytest.mark.parametrize("kind", IMAGES)
def test_it_trains_as_any_backbone(kind: str, saved_models: Path, tmp_path: Path) -> None:
    pair(kind, saved_models, tmp_path).save(tmp_path / "model")
    opened = ImageTextPair(str(tmp_path / "model"))
    groups = opened.layer_groups()
    check_partition(opened, groups)
    assert groups[0].name == "embeddings" and "projection.weight" in groups[-1].parameter_names
    opened(images(opened)).square().sum().backward()
    assert [name for name, parameter in opened.named_parameters() if parameter.grad is None] == [], "DDP would stop"
    for adaptation in (Frozen(), Full()):
        adaptation.apply(opened)
        trains = {parameter.requires_grad for parameter in opened.parameters()}
        assert trains == {isinstance(adaptation, Full)}


@torch.no_grad()
def test_an_export_reads_back(saved_models: Path, tmp_path: Path) -> None:
    pair("timm", saved_models, tmp_path).save(tmp_path / "model")
    opened, head = ImageTextPair(str(tmp_path / "model")).eval(), nn.Linear(6, 2)
    next(iter(opened.image.parameters())).mul_(1.5)  # as if trained
    opened.export(tmp_path / "exported", head, ("a", "b"))
    model, shown = load_exported(tmp_path / "exported"), images(opened)
    torch.testing.assert_close(model(shown), head(opened(shown)))
    again: Any = model.backbone
    torch.testing.assert_close(again.embed_texts(SAID), opened.embed_texts(SAID))
    assert again.temperature == pytest.approx(opened.temperature)


def test_a_low_rank_change(saved_models: Path, tmp_path: Path) -> None:
    pair("timm", saved_models, tmp_path).save(tmp_path / "model")
    opened = ImageTextPair(str(tmp_path / "model"))
    LoRA(r=2).apply(opened)
    assert any("lora_A" in name for name, parameter in opened.named_parameters() if parameter.requires_grad)
    assert opened(images(opened)).shape == (3, 6)


@torch.no_grad()
def test_fresh_weights(saved_models: Path, tmp_path: Path) -> None:
    made = pair("torchvision", saved_models, tmp_path)
    made.save(tmp_path / "model")
    fresh = ImageTextPair(str(tmp_path / "model"), weights=False).eval()
    shown = images(fresh)
    assert not torch.allclose(fresh(shown), F.linear(made.image(shown), made.image_projection.weight))
    assert fresh.temperature is None
    for use in (lambda: fresh.embed_texts(SAID), lambda: fresh.save(tmp_path / "again")):
        with pytest.raises(ValueError, match="its image tower has fresh weights; set weights to true"):
            use()


def damage(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    file = folder / name
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def image_as_text(folder: Path) -> None:
    shutil.rmtree(folder / "text")
    shutil.copytree(folder / "image", folder / "text")
    damage(folder, "pair.json", lambda told: {**told, "text": told["image"]})


DAMAGES: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "another folder": (
        lambda f: (f / "pair.json").unlink(),
        FileNotFoundError,
        "has no pair.json: ImageTextPair opens",
    ),
    "no projections": (
        lambda f: (f / "projections.safetensors").unlink(),
        FileNotFoundError,
        "has no projections.safetensors: copy the whole folder",
    ),
    "half a file": (
        lambda f: (f / "projections.safetensors").write_bytes((f / "projections.safetensors").read_bytes()[:40]),
        ValueError,
        "projections.safetensors are damaged or half-written",
    ),
    "not JSON": (lambda f: (f / "pair.json").write_text("{"), ValueError, "pair.json is damaged"),
    "no text tower": (lambda f: (f / "text" / "config.json").unlink(), FileNotFoundError, "no config.json"),
    "one tower alone": (
        lambda f: damage(f, "pair.json", lambda told: {"image": told["image"]}),
        ValueError,
        "pair.json is damaged .'text'.",
    ),
    "two image towers": (
        image_as_text,
        ValueError,
        "names TorchvisionResNet as the text tower, which reads something else",
    ),
    "an unknown class": (
        lambda f: damage(f, "pair.json", lambda told: {**told, "image": {"class": "Own", "arguments": {}}}),
        ValueError,
        "pair.json names the backbone 'Own'; known:",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_folders(name: str, saved_models: Path, tmp_path: Path) -> None:
    pair("torchvision", saved_models, tmp_path).save(tmp_path / "model")
    change, kind, message = DAMAGES[name]
    change(tmp_path / "model")
    with pytest.raises(kind, match=message):
        ImageTextPair(str(tmp_path / "model"))


def test_projections_of_other_towers(saved_models: Path, tmp_path: Path) -> None:
    made = pair("torchvision", saved_models, tmp_path)
    made.image_projection = linear(torch.zeros(6, 7))
    made.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"projects features of 7 and \d+ numbers, and the towers give \d+ and"):
        ImageTextPair(str(tmp_path / "model"))


def test_a_class_of_ones_own_is_said_before_training(saved_models: Path, tmp_path: Path) -> None:
    class Doubled(type(IMAGES["torchvision"](tmp_path))):  # type: ignore[misc]
        def forward(self, inputs: Tensor) -> Tensor:
            found: Tensor = super().forward(inputs)
            return found * 2

    made = pair("torchvision", saved_models, tmp_path)
    made.image.__class__ = Doubled
    assert "Doubled is no backbone that a folder can name: it has a forward of its own" in made.why_no_pair()
    made.save(tmp_path / "model")
    assert not DualEncoder.is_folder(str(tmp_path / "model")) and (tmp_path / "model" / "image").is_dir()
