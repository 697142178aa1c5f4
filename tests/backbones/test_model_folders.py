"""Folders of models that bring code, need a library, or hold more than the encoder."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_text import save_text_model

from lightning_tl.backbones import HuggingFaceCLIP, HuggingFaceText, HuggingFaceVision

SIZE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = transformers.ViTConfig(**SIZE, image_size=16, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model("bert", tmp_path_factory.mktemp("bert"))


def change(folder: Path, into: Path, file: str = "config.json", **settings: Any) -> Path:
    """A copy of a model's folder in which a file of settings says more."""
    shutil.copytree(folder, into, dirs_exist_ok=True)
    found = json.loads((into / file).read_text())
    (into / file).write_text(json.dumps(found | settings))
    return into


# ---------------------------------------------------------------- code


class _Asked:
    """Standard input that answers yes, and remembers that it was asked."""

    asked = False

    def readline(self, *_: Any) -> str:
        self.asked = True
        return "y\n"


@pytest.mark.parametrize(
    ("kind", "file", "settings"),
    [
        ("vit", "config.json", {"model_type": "othernet", "auto_map": {"AutoConfig": "own.Config"}}),
        ("clip", "config.json", {"model_type": "othernet", "auto_map": {"AutoConfig": "own.Config"}}),
        ("bert", "config.json", {"model_type": "othernet", "auto_map": {"AutoConfig": "own.Config"}}),
        (
            "bert",
            "tokenizer_config.json",
            {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}},
        ),
    ],
)
def test_code_of_a_folder_is_never_run(
    kind: str,
    file: str,
    settings: dict[str, Any],
    vit: Path,
    bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = change(bert if kind == "bert" else vit, tmp_path / "model", file, **settings)
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\nConfig = Tokenizer = None\n")
    stdin = _Asked()
    monkeypatch.setattr(sys, "stdin", stdin)
    opens: dict[str, Callable[[str], Any]] = {
        "vit": HuggingFaceVision,
        "clip": HuggingFaceCLIP,
        "bert": HuggingFaceText,
    }
    with pytest.raises(ValueError, match=rf"needs Python code of its own \(auto_map in {file}\), which is never run"):
        opens[kind](str(folder))
    assert not ran.exists()
    assert not stdin.asked


def test_code_beside_a_known_family_is_left_alone(vit: Path, tmp_path: Path) -> None:
    folder = change(vit, tmp_path / "model", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    assert type(HuggingFaceVision(str(folder)).model) is transformers.ViTModel
    assert not (tmp_path / "ran").exists()


# ---------------------------------------------------------------- libraries


@pytest.mark.parametrize("kind", ["vit", "bert"])
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("bitsandbytes", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
        ("gptq", {"bits": 4}),
        ("awq", {"bits": 4, "group_size": 128, "zero_point": True}),
    ],
)
def test_quantised_weights_without_their_library(
    kind: str, method: str, settings: dict[str, Any], vit: Path, bert: Path, tmp_path: Path
) -> None:
    quantised = {"quantization_config": {"quant_method": method, **settings}}
    folder = change(vit if kind == "vit" else bert, tmp_path / "model", **quantised)
    wanted = rf"are quantised by {method}, which is not installed or does not run .* full precision$"
    with pytest.raises(ValueError, match=wanted):
        (HuggingFaceVision if kind == "vit" else HuggingFaceText)(str(folder))


# ---------------------------------------------------------------- what a file holds besides the encoder


def with_tensors(folder: Path, into: Path, **more: torch.Tensor) -> str:
    shutil.copytree(folder, into)
    save_file(load_file(into / "model.safetensors") | more, into / "model.safetensors", metadata={"format": "pt"})
    return str(into)


def test_what_lies_outside_the_encoder_is_a_head(vit: Path, tmp_path: Path) -> None:
    folder = with_tensors(vit, tmp_path / "model", **{"my_own_projector.weight": torch.zeros(3, 3)})
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(HuggingFaceVision(folder).eval()(x), HuggingFaceVision(str(vit)).eval()(x))


@pytest.mark.parametrize("key", ["vit.layers.0.stranger.weight", "vit.stranger"])
def test_what_lies_inside_must_be_known(key: str, vit: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unexpected \(1\): .*stranger"):
        HuggingFaceVision(with_tensors(vit, tmp_path / "model", **{key: torch.zeros(3, 3)}))


def test_strangers_beside_an_encoder_that_was_saved_alone(vit: Path, tmp_path: Path) -> None:
    HuggingFaceVision(str(vit)).model.save_pretrained(tmp_path / "alone")
    with pytest.raises(ValueError, match=r"unexpected \(1\): stranger\.weight"):
        HuggingFaceVision(with_tensors(tmp_path / "alone", tmp_path / "m", **{"stranger.weight": torch.zeros(3)}))


def test_weights_of_another_model_altogether(vit: Path, tmp_path: Path) -> None:
    shutil.copytree(vit, tmp_path / "m")
    save_file({"a.weight": torch.zeros(2)}, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="hold next to nothing of the ViTModel"):
        HuggingFaceVision(str(tmp_path / "m"))


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_models_open_within_a_test_too(kind: str, vit: Path, bert: Path) -> None:
    """A Trainer tests in inference mode, in which baselines open models of their own."""
    folder = vit if kind == "images" else bert
    with torch.inference_mode():
        backbone = (HuggingFaceVision if kind == "images" else HuggingFaceText)(str(folder))
    backbone(backbone.example_inputs(2)).sum().backward()
