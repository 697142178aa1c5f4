"""`lightning-tl backbones`: candidates on own images, texts and values, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cli_runs import error_of, make_job
from tiny_text import WORDS, save_text_model
from transformers import ViTModel

from datamodules import ImageFolderDataModule
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.choosing.features.labelled_features import labelled_features
from lightning_tl.cli import main
from lightning_tl.embedding import EmbeddingSettings


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three classes that a ViT tells apart, and copies: one blind, one that gives no numbers."""
    folder = tmp_path_factory.mktemp("job")
    make_job(folder)
    for name, value in (("blind", 0.0), ("broken", float("nan"))):
        model = ViTModel.from_pretrained(folder / "vit", add_pooling_layer=False)
        with torch.no_grad():
            model.embeddings.patch_embeddings.projection.weight.fill_(value)
        model.save_pretrained(folder / name)
    save_text_model("bert", folder)
    shutil.copytree(folder / "vit", folder / "known")
    (folder / "known" / "README.md").write_text("---\nlicense: cc0-1.0\ndatasets: [a, b, c, d]\n---\n# A model\n")
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def compare(job: Path, *options: str) -> dict[str, Any]:
    main(["backbones", "--recipe", f"{job}/mine.yaml", "--offline", "--output=found.json", *options])
    found: dict[str, Any] = json.loads(Path("found.json").read_text())
    return found


def test_the_better_comes_first_and_the_others_are_told(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{job}/blind,channels=3", f"{job}/known", f"{job}/broken", f"{job}/nowhere"]
    found = compare(job, "--candidates", *names)
    shown = capsys.readouterr().out
    first, *others = found["ranked"]
    assert first["candidate"] == f"{job}/known"
    assert not others
    assert "the same for all" in found["failed"][names[0]]
    assert "must be finite" in found["failed"][names[2]]
    assert "there is no folder" in found["failed"][names[3]]
    assert shown.count("not measured:") == 6
    assert shown.rstrip().endswith(f"--recipe {job}/mine.yaml --model.backbone.pretrained={job}/known")
    assert (first["card"]["licence"], first["card"]["domain"]) == ("cc0-1.0", "a, b, c and 1 more")
    assert first["card"]["told_by"] == "offline: folder"
    assert first["feature_dim"] == 16
    assert set(first["latency"]["milliseconds"]) == {"1", "64"}
    assert min(first["latency"]["milliseconds"].values()) > 0
    assert first["parameters"] == sum(p.numel() for p in HuggingFaceVision(f"{job}/vit").parameters())


def test_scores_are_those_of_the_strategy_and_features_are_kept(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{job}/vit", f"{job}/vit,weights=false"]
    found = compare(job, "--candidates", *names, "--layers")
    assert "embedded 55 samples" in capsys.readouterr().out
    by_name = {each["candidate"]: each for each in found["ranked"]}
    assert list(by_name[names[0]]["layers"]) == ["embeddings", "block.0", "block.1"]
    assert by_name[names[1]]["card"]["told_by"] == "fresh weights, drawn by chance"
    second = found["ranked"][1]
    assert second["difference_to_first"]["mean"] == pytest.approx(second["probe"] - found["ranked"][0]["probe"])
    kept = sorted(path.name for path in Path("backbone_features").iterdir())
    again = compare(job, "--candidates", *names, "--layers")
    assert "embedded" not in capsys.readouterr().out
    assert sorted(path.name for path in Path("backbone_features").iterdir()) == kept
    for before, after in zip(found["ranked"], again["ranked"], strict=True):
        assert {**before, "latency": 0} == {**after, "latency": 0}
    probe = ["--model=lightning_tl.strategies.LinearProbe", "--test=false", "--run_folder=run"]
    main(["--recipe", f"{job}/mine.yaml", "--unfreezing=null", *probe])
    trained = pd.read_csv("run/metrics.csv")["val_accuracy"].dropna().iloc[-1]
    assert by_name[names[0]]["probe"] == pytest.approx(trained, abs=1e-6)


def test_test_samples_are_never_read(job: Path, tmp_path: Path) -> None:
    data = ImageFolderDataModule(job / "images")
    backbone = HuggingFaceVision(f"{job}/vit")
    found = labelled_features(backbone, "vit", data, tmp_path, EmbeddingSettings("32"), "cpu")
    assert found.training.sum() == len(data.indices["train"])
    assert len(found.values) == len(data.indices["train"]) + len(data.indices["validation"])
    rows = np.concatenate([data.indices["train"], data.indices["validation"]])
    assert found.target.tolist() == data.targets()[rows].tolist()


class Interrupted(HuggingFaceVision):
    """A backbone that is stopped once, in its fifth batch."""

    batches = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `Backbone`."""
        Interrupted.batches += 1
        if Interrupted.batches == 5:
            raise KeyboardInterrupt
        return super().forward(inputs)


def test_what_was_computed_before_an_interruption_is_kept(job: Path, tmp_path: Path) -> None:
    def features() -> np.ndarray:
        backbone, data = Interrupted(f"{job}/vit"), ImageFolderDataModule(job / "images", num_workers=0)
        settings = EmbeddingSettings("32", batch_size=8)
        return labelled_features(backbone, "vit", data, tmp_path / "kept", settings, "cpu").values

    Interrupted.batches = 0
    with pytest.raises(KeyboardInterrupt):
        features()
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".lock", ".parts"}
    values = features()
    assert Interrupted.batches == 5 + 3, "55 samples are 7 batches, of which 4 were done"
    again = features()
    assert Interrupted.batches == 5 + 3
    assert np.array_equal(values, again)
    whole = HuggingFaceVision(f"{job}/vit")
    data = ImageFolderDataModule(job / "images", num_workers=0)
    at_once = labelled_features(whole, "vit", data, tmp_path / "other", EmbeddingSettings("32"), "cpu").values
    assert np.allclose(values, at_once, atol=1e-6)


def test_several_processes_are_refused(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    told = error_of(["backbones", f"--recipe={job}/mine.yaml", "--candidates", f"{job}/vit", "--offline"], capsys)
    assert "by one process, but there are 2: start the command without torchrun" in told


def _values(folder: Path) -> str:
    """A recipe of texts with numbers to predict, by a tiny BERT."""
    save_text_model("bert", folder)
    random = np.random.default_rng(0)
    texts = [list(random.choice(WORDS, random.integers(3, 12))) for _ in range(120)]
    numbers = [100 + 5 * len(words) + 40 * words.count("good") for words in texts]
    pd.DataFrame({"body": [" ".join(words) for words in texts], "price": numbers}).to_csv(folder / "own.csv")
    (folder / "values.yaml").write_text(
        "# Prices.\nmodel:\n  class_path: lightning_tl.strategies.LinearProbe\n  init_args:\n"
        "    backbone: lightning_tl.backbones.HuggingFaceText\ndata:\n  class_path: datamodules.TextDataModule\n"
        f"  init_args: {{path: {folder}/own.csv, text: body, label: price, task: regression, cache: {folder}/cache}}\n"
    )
    return f"--recipe={folder}/values.yaml"


def test_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = f"--data.cache={tmp_path}/my cache"
    main(
        ["backbones", _values(tmp_path), "--candidates", f"{tmp_path}/bert", "--output=found.json", "--offline", cache]
    )
    (found,) = json.loads(Path("found.json").read_text())["ranked"]
    assert found["neighbours"] is None
    assert 0.2 < found["probe"] < 1
    shown = capsys.readouterr().out
    assert "probe: R² of an exact linear head" in shown
    assert f" '{cache}' " in shown, "what is to be typed is quoted"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "backbones needs --candidates NAME"),
        (["--candidates", "a", "b", "a"], "the candidate a is named twice"),
        (["--candidates", "a", "--candidates", "a"], "the candidate a is named twice"),
        (["--candidates", "HugingFaceVision:a"], "no backbone class HugingFaceVision; there are HuggingFaceVision"),
        (["--candidates", "a,image_size"], "got 'a,image_size'"),
        (["--candidates", ",x=1"], "got ',x=1'"),
        (["--candidates", "{job}/vit,imagesize=3"], "no field"),
        (["--candidates", "{job}/vit", "--neighbours=0"], "neighbours must be at least 1, got 0"),
        (["--candidates", "{job}/vit", "--neighbours=100"], "no candidate .*: 100 neighbours are asked for"),
        (["--candidates", "{job}/vit", "--output=found.csv"], "must be a .json file in a folder that is there"),
        (["--candidates", "{job}/vit", "--output=no/found.json"], "must be a .json file in a folder that is there"),
        (["--candidates", "{job}/vit", "--precision=16"], "precision must be auto, 32 or bf16, got 16"),
        (["--candidates", "{job}/vit", "--features={job}/mine.yaml"], "mine.yaml cannot be made .File exists."),
        (["--candidates", "HuggingFaceText:{job}/bert"], "bert reads texts, but ImageFolderDataModule has images"),
        (["--candidates", "{job}/vit", "--model.backbone.pretrained=x"], "name it among --candidates"),
        (["--candidates", "{job}/vit", "--data.root=nowhere"], "no candidate could be measured: .*nowhere"),
        (["--candidates", "{job}/nowhere", "{job}/broken"], "{job}/nowhere: there is no .*; {job}/broken: features"),
    ],
)  # fmt: skip
def test_mistakes(options: list[str], message: str, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [option.replace("{job}", str(job)) for option in options]
    told = error_of(["backbones", "--recipe", f"{job}/mine.yaml", "--offline", *given], capsys)
    assert re.search(message.replace("{job}", str(job)), told), told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--candidates", "a"], "backbones needs --recipe"),
        (["--recipe=two_tower", "--candidates", "a"], "has no model.backbone to exchange"),
        (["--recipe=satelite_vit", "--candidates", "a"], "nearest: satellite_vit"),
    ],
)
def test_recipes_without_a_backbone(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error_of(["backbones", *arguments], capsys)
