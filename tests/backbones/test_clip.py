"""CLIP and SigLIP: images and texts in one space, checked against transformers' own whole models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from cli_runs import error_of, make_job
from safetensors.torch import load_file, save_file
from tiny_clip import MEAN, MODELS, STD, save_clip
from torch import nn

from datamodules import SatelliteDataModule
from lightning_tl.backbones import EmbedsTexts, HuggingFaceCLIP, HuggingFaceText, HuggingFaceVision, load_exported
from lightning_tl.cli import main
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.strategies import ZeroShot

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose

FAMILIES = ["clip", "siglip"]
TEXTS = ["a red boat", "the water was very cold and the fish was not good at all", "jacket"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    for family in FAMILIES:
        save_clip(family, folder)
    return folder


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def tokens(family: str, folder: Path, texts: list[str]) -> dict[str, torch.Tensor]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    padding: Any = "max_length" if family == "siglip" else True
    found = tokenizer(texts, padding=padding, truncation=True, max_length=12, return_tensors="pt")
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_those_of_the_whole_model(family: str, folders: Path) -> None:
    backbone = HuggingFaceCLIP(str(folders / family))
    model = MODELS[family].from_pretrained(folders / family).eval()
    peer = model(**tokens(family, folders / family, TEXTS), pixel_values=images())
    unit = nn.functional.normalize
    torch.testing.assert_close(unit(backbone(images())), peer.image_embeds, rtol=0, atol=1e-6)
    with torch.device("meta"):  # as inside the Trainer, where tensors are made on the accelerator
        found = backbone.embed_texts(TEXTS)
    torch.testing.assert_close(unit(found), peer.text_embeds, rtol=0, atol=1e-6)
    assert isinstance(backbone, EmbedsTexts)
    assert backbone.temperature == pytest.approx(float(np.exp(-2.5)))
    assert found.shape[1] == backbone.feature_dim == backbone(images()).shape[1]
    assert torch.equal(backbone.embed_texts(TEXTS * 50)[-3:].round(decimals=4), found.round(decimals=4))


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_images_pass_through_is_there(family: str, folders: Path) -> None:
    backbone = HuggingFaceCLIP(str(folders / family))
    groups = backbone.layer_groups()
    check_partition(backbone, groups)
    assert [group.name for group in groups] == ["embeddings", "block.0", "block.1"]
    backbone(images()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters()), "DDP would stop"
    last = "visual_projection" if family == "clip" else "head.probe"
    assert any(last in name for name in groups[-1].parameter_names)
    assert (backbone.input_spec.image_size, backbone.input_spec.mean, backbone.input_spec.std) == (8, MEAN, STD)


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_images_statistics_come_from(family: str, folders: Path, tmp_path: Path) -> None:
    save_clip(family, tmp_path)
    settings = json.loads((tmp_path / family / "preprocessor_config.json").read_text())
    (tmp_path / family / "preprocessor_config.json").unlink()
    known = {"clip": transformers.image_utils.OPENAI_CLIP_MEAN, "siglip": [0.5] * 3}[family]
    assert HuggingFaceCLIP(str(tmp_path / family)).input_spec.mean == tuple(known)
    (tmp_path / family / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert HuggingFaceCLIP(str(tmp_path / family)).input_spec.mean == MEAN


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_export(family: str, folders: Path, tmp_path: Path) -> None:
    backbone, head = HuggingFaceCLIP(str(folders / family)), nn.Linear(12 if family == "clip" else 16, 3)
    backbone.model.get_input_embeddings().weight.mul_(1.5)  # as if trained
    line = backbone.export(tmp_path / "model", head, ("a", "b", "c"))
    assert line == f'lightning_tl.backbones.load_exported("{tmp_path / "model"}")'
    model = load_exported(tmp_path / "model")
    assert model.backbone.input_spec == backbone.input_spec
    torch.testing.assert_close(model(images()), head(backbone(images())))
    kind = transformers.CLIPVisionModelWithProjection if family == "clip" else transformers.SiglipVisionModel
    peer = kind.from_pretrained(tmp_path / "model" / "backbone")(images())
    embedded = peer.image_embeds if family == "clip" else peer.pooler_output
    torch.testing.assert_close(embedded, backbone(images()))
    with pytest.raises(ValueError, match=r"cannot embed texts with .*: it has the image tower alone"):
        model.backbone.embed_texts(["a"])  # type: ignore[operator]


def test_fresh_weights(folders: Path) -> None:
    backbone = HuggingFaceCLIP(str(folders / "clip"))
    before = backbone(images())
    backbone.reinitialise()
    fresh = HuggingFaceCLIP(str(folders / "clip"), weights=False)
    for model in (backbone, fresh):
        assert not torch.allclose(model(images()), before)
        with pytest.raises(ValueError, match=r"it has the image tower alone, or fresh weights; take a whole"):
            model.embed_texts(["a"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", ["missing", "unexpected"])
@pytest.mark.parametrize("tower", ["text_model.embeddings.", "vision_model.encoder.layers.0.self_attn."])
def test_weights_that_do_not_fit(family: str, change: str, tower: str, folders: Path, tmp_path: Path) -> None:
    state = load_file(folders / family / "model.safetensors")
    tower = tower if any(key.startswith(tower) for key in state) else tower.replace("encoder.", "")
    key = next(key for key in state if key.startswith(tower))
    if change == "missing":
        del state[key]
    else:
        key = f"{tower}stranger"
        state[key] = torch.zeros(2)
    for file in (folders / family).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"do not match its config.json; {change} \(1\): {key}"):
        HuggingFaceCLIP(str(tmp_path))


def test_other_folders(folders: Path, tmp_path: Path) -> None:
    make_job(tmp_path)
    with pytest.raises(ValueError, match="is a 'vit' model; HuggingFaceCLIP opens CLIP and SigLIP models"):
        HuggingFaceCLIP(str(tmp_path / "vit"))
    with pytest.raises(FileNotFoundError, match=r"offline mode is on.*satellite-vit-tiny, with HuggingFaceVision"):
        HuggingFaceCLIP("openai/clip-vit-base-patch32")
    save_clip("clip", tmp_path)
    for file in (tmp_path / "clip").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"has no tokenizer, so texts cannot be embedded; put tokenizer.json beside"):
        HuggingFaceCLIP(str(tmp_path / "clip")).embed_texts(["a"])


# ---------------------------------------------------------------- zero-shot


def zero_shot(folder: Path, names: tuple[str, ...] = ("boat", "house", "water"), **options: Any) -> ZeroShot:
    module = ZeroShot(HuggingFaceCLIP(str(folder)), num_classes=len(names), **options)
    module.class_names = names
    module.configure_model()
    return module.eval()


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_are_those_of_the_whole_model(family: str, folders: Path) -> None:
    module = zero_shot(folders / family, templates=["this is a {}"])
    model = MODELS[family].from_pretrained(folders / family).eval()
    texts = [f"this is a {name}" for name in ("boat", "house", "water")]
    peer = model(**tokens(family, folders / family, texts), pixel_values=images())
    found = module.probabilities(module(images()))
    torch.testing.assert_close(found, peer.logits_per_image.softmax(-1), rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in module.parameters())


@torch.no_grad()
def test_templates_are_averaged(folders: Path) -> None:
    templates = ["this is a {}", "a big {}", "{}"]
    module = zero_shot(folders / "clip", templates=templates, descriptions={"house": "old house"}, temperature=0.3)
    model = transformers.CLIPModel.from_pretrained(folders / "clip").eval()
    image = nn.functional.normalize(model.get_image_features(images()).pooler_output, dim=1)
    for k, words in enumerate(("boat", "old house", "water")):
        total = torch.zeros(12)
        for template in templates:
            batch = tokens("clip", folders / "clip", [template.replace("{}", words)])
            feature = model.get_text_features(**batch).pooler_output[0]
            total += feature / feature.norm()
        expected = image @ (total / total.norm()) / 0.3
        torch.testing.assert_close(module(images())[:, k], expected, rtol=0, atol=1e-5)


RECIPE = """\
# Own images without training.
model:
  class_path: lightning_tl.strategies.{strategy}
  init_args:
    backbone:
      class_path: lightning_tl.backbones.HuggingFaceCLIP
      init_args: {{pretrained: {folder}/clip}}
data:
  class_path: datamodules.ImageFolderDataModule
  init_args: {{root: {folder}/images, num_workers: 0}}
trainer: {{max_epochs: 2, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false}}
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    make_job(tmp_path)
    save_clip("clip", tmp_path)
    return tmp_path


def recipe(folder: Path, strategy: str) -> str:
    path = folder / "own.yaml"
    path.write_text(RECIPE.format(strategy=strategy, folder=folder))
    return str(path)


def test_a_run(job: Path) -> None:
    descriptions = "--model.descriptions={field: green, lake: cold water, town: big house}"
    main(["--recipe", recipe(job, "ZeroShot"), '--model.templates=["a photo of {}"]', descriptions])
    (run,) = (job / "runs" / "own").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["parameters"]["trainable"] == 0
    assert summary["test"]["logged"]["test_temperature"] == pytest.approx(float(np.exp(-2.5)))
    assert 0 <= summary["test"]["calibration_error"] <= 1
    main(["predict", "--run", str(run)])
    tables = [pd.read_parquet(run / "predictions" / f"{name}.parquet").set_index("id") for name in ("test", "predict")]
    found, again = (np.stack(table["probabilities"].sort_index()) for table in tables)
    assert np.array_equal(found, again)
    assert load_exported(run / "model").class_names == ("field", "lake", "town")


@pytest.mark.parametrize("strategy", ["LinearProbe", "FineTune", "LoRAFineTune"])
def test_training_on_clip(strategy: str, job: Path) -> None:
    more = {"FineTune": ["--unfreezing.epochs_per_phase=1"], "LoRAFineTune": ["--model.r=2"]}
    main(["--recipe", recipe(job, strategy), *more.get(strategy, [])])
    (run,) = (job / "runs" / "own").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["samples"] == 5 and summary["parameters"]["trainable"] > 0
    assert load_exported(run / "model")(images()).shape == (3, 3)


def test_mistakes(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"text": [f"text {k}" for k in range(40)], "label": ["a", "b"] * 20}).to_csv(
        job / "own.csv", index=False
    )
    cases = {
        "needs a backbone that reads texts": ["--data=datamodules.TextDataModule", "--data.path=own.csv"],
        "every template must have one {} where": ["--model.templates=[a photo]"],
        "descriptions of classes that the data has not: see; it has field, lake, town": [
            "--model.descriptions={see: water}"
        ],
        "ZeroShot needs a backbone that embeds texts, such as lightning_tl.backbones.HuggingFaceText or HuggingFaceCLIP"
        "; HuggingFaceVision does not": [
            "--model.backbone=lightning_tl.backbones.HuggingFaceVision",
            f"--model.backbone.pretrained={job / 'vit'}",
        ],
    }
    for message, options in cases.items():
        assert message in error_of(["--recipe", recipe(job, "ZeroShot"), *options], capsys)


def test_backbones_that_do_not_fit(tmp_path: Path, folders: Path) -> None:
    with pytest.raises(ValueError, match=r"needs a backbone that embeds texts.*HuggingFaceVision does not"):
        ZeroShot(HuggingFaceVision())
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    with pytest.raises(
        ValueError, match="ZeroShot with HuggingFaceText reads texts, but SatelliteDataModule has images"
    ):
        trainer.fit(ZeroShot(HuggingFaceText()), SatelliteDataModule(num_workers=0))
