"""`lightning-tl distance`: near and far pictures and texts, what is told of them, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cli_runs import error_of, make_job
from PIL import Image
from tiny_text import WORDS, save_text_model
from transformers import ViTModel

from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.choosing.distance.domain_distance import domain_distance, holm
from lightning_tl.choosing.distance.domain_samples import DomainSamples
from lightning_tl.choosing.distance.kept_features import beside_weights, read_features
from lightning_tl.choosing.distance.thresholds import Thresholds
from lightning_tl.cli import main


def pictures(folder: Path, seed: int, reddish: float, classes: tuple[str, ...], count: int = 20) -> Path:
    noise = np.random.default_rng(seed)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = noise.integers(0, 120, (8, 8, 3)) + 60 * number
            pixels = pixels * [1, 1 - reddish, 1 - reddish]
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name / f"{k:02d}.png")
    return folder


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    make_job(folder)
    names = ("field", "lake", "town")
    pictures(folder / "near", 1, 0, names)
    pictures(folder / "far", 2, 1.0, (*names[1:], "ice"))
    pictures(folder / "loose", 3, 0, ("",))
    pictures(folder / "few", 4, 0, names, count=1)
    shutil.copytree(folder / "images", folder / "copy")
    (folder / "empty").mkdir()
    for name, value in (("blind", 0.0), ("broken", float("nan"))):
        model = ViTModel.from_pretrained(folder / "vit", add_pooling_layer=False)
        with torch.no_grad():
            model.embeddings.patch_embeddings.projection.weight.fill_(value)
        model.save_pretrained(folder / name)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)


def measure(job: Path, source: str, *options: str) -> dict[str, Any]:
    words = [f"--source={job / source}", "--output=found.json", "--permutations=200", *options]
    main(["distance", f"--recipe={job}/mine.yaml", *words])
    found: dict[str, Any] = json.loads(Path("found.json").read_text())
    return found


def test_near_pictures(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(job, "near")
    shown = capsys.readouterr().out
    assert found["verdict"] == "near" and found["proxy_a"]["low"] == 0
    assert found["mmd"]["p_value"] > 0.05
    assert "That they differ at all is not established" in shown
    assert "theorem 2 of Ben-David et al. (2010)" in shown and "unknown without labels" in shown
    assert set(found["by_class"]) == {"field", "lake", "town"}
    assert found["notes"] == []
    assert found["source"] == {"name": str(job / "near"), "samples": 60, "of": 60}
    assert found["kind"] == "covariate shift"


def test_far_pictures(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(job, "far")
    shown = capsys.readouterr().out
    accuracy = found["proxy_a"]["accuracy"]
    assert found["verdict"] == "far" and accuracy > 0.9
    assert f"The domains are told apart with {accuracy:.0%} accuracy" in shown and ": far." in shown
    assert found["mmd"]["p_value"] == pytest.approx(1 / 201)
    assert set(found["by_class"]) == {"lake", "town"}
    alone = [note.partition(":")[0] for note in found["notes"]]
    assert alone[:2] == ["ice", "field"] and "label shift" in found["notes"][2]
    assert found["bound"]["half_divergence"] == found["proxy_a"]["distance"] / 2
    assert "holds for every model, and says nothing" in shown


def test_pictures_without_labels_and_kept_features(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(job, "loose", "--most=30")
    assert found["by_class"] == {}
    assert (found["source"]["samples"], found["target"]["samples"], found["target"]["of"]) == (20, 30, 60)
    assert "30 of 60 samples of" in capsys.readouterr().out
    again = measure(job, "loose", "--most=30")
    assert "embedded" not in capsys.readouterr().out
    assert again == found


def test_a_copy_is_told(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the distance of a thing to itself" in measure(job, "copy")["notes"][0]


def test_the_recipes_own_data_are_a_source(job: Path) -> None:
    words = ["--source=recipe", f"--data.root={job}/near", "--output=found.json", "--permutations=20"]
    main(["distance", f"--recipe={job}/mine.yaml", *words])
    found = json.loads(Path("found.json").read_text())
    assert (found["source"]["name"], found["target"]["name"]) == (str(job / "images"), str(job / "near"))


def test_a_folder_beside_data_that_ship(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recipe's own data have no folder: it is read by the data module for folders."""
    words = [f"--data.root={job}/near", f"--source={job}/far", "--output=found.json", "--permutations=20"]
    words += ["--most=24", "--folds=3"]
    main(["distance", "--recipe=satellite_linear_probe", "--trainer.accelerator=cpu", *words])
    assert "data.root is read by datamodules.ImageFolderDataModule" in capsys.readouterr().out
    found = json.loads(Path("found.json").read_text())
    assert found["target"]["name"] == str(job / "near") and found["verdict"] == "far"


def test_texts_of_tables_with_other_columns(tmp_path: Path) -> None:
    save_text_model("bert", tmp_path)
    draw = np.random.default_rng(0)
    for name, column, words in (("a", "body", WORDS[:5]), ("b", "note", WORDS[5:10])):
        rows = [" ".join(draw.choice(words, 4)) for _ in range(40)]
        pd.DataFrame({column: rows, "label": ["x", "y"] * 20}).to_csv(tmp_path / f"{name}.csv", index=False)
    words = [f"--model.backbone.pretrained={tmp_path}/bert", f"--data.path={tmp_path}/a.csv", "--data.text=body"]
    words += ["--data.label=label", f"--source={tmp_path}/b.csv", "--source.text=note", "--permutations=50"]
    main(["distance", "--recipe=text_linear_probe", "--trainer.accelerator=cpu", "--output=found.json", *words])
    found = json.loads(Path("found.json").read_text())
    assert found["proxy_a"]["accuracy"] > 0.8 and set(found["by_class"]) == {"x", "y"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source={job}/images"], "the distance of a thing to itself is 0"),
        (["--source={job}/nowhere"], "source: there is no"),
        (["--source={job}/empty"], "empty"),
        (["--source={job}/few"], "has 3 images, but 5 folds need at least as many"),
        (["--source={job}/near", "--model.backbone.pretrained={job}/blind"], "the same for all"),
        (["--source={job}/near", "--model.backbone.pretrained={job}/broken"], "must be finite"),
        (["--source={job}/near", "--folds=2"], "folds must be at least 3, got 2"),
        (["--source={job}/near", "--permutations=0"], "permutations must be at least 1, got 0"),
        (["--source={job}/near", "--most=4"], "most must be at least the number of folds, 5, got 4"),
        (["--source={job}/near", "--output=found.txt"], "the output must be a .json file"),
        (["--source.text=a"], "distance needs --source"),
        (["--source={job}/near", "--source.text"], "--source.FIELD=VALUE"),
        (["--source={job}/near", "--source.tetx=a"], "tetx"),
        (["--source=backbone"], "came without features of what it was pretrained on (pretraining_features.safetensors"),
        (["--source={job}/nothing.safetensors"], "source: there is no"),
        (["--source={job}/vit/model.safetensors"], "is no file of features as --keep_source writes it"),
        (["--source=backbone", "--source.root=a"], "--source.root=a is for a source that is read"),
        (["--source=backbone", "--keep_source=a.safetensors"], "--keep_source is for a source that is read"),
        (["--source={job}/near", "--keep_source=a.npy"], "keep_source must be a .safetensors file"),
    ],
)
def test_what_is_refused(job: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [word.replace("{job}", str(job)) for word in words]
    assert told in error_of(["distance", f"--recipe={job}/mine.yaml", *arguments], capsys)


def test_features_of_a_source_stand_for_it(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside other data, another backbone's are refused, and a kept file is as good as what it was made from."""
    read = measure(job, "far", "--keep_source=far.safetensors")
    kept = measure(job, "far", "--source=far.safetensors")
    assert kept["source"] == {"name": str(job / "far"), "samples": 60, "of": 60}
    assert kept["proxy_a"]["accuracy"] == pytest.approx(read["proxy_a"]["accuracy"], abs=0.02)
    assert kept["mmd"]["squared"] == pytest.approx(read["mmd"]["squared"], rel=0.02)
    assert kept["by_class"] == {}, "labels are not kept"
    source = ["distance", f"--recipe={job}/mine.yaml", "--source=far.safetensors"]
    others = {"weights=false": "weights True there, False here", f"pretrained={job}/blind": "other weights"}
    for changed, why in others.items():
        assert f"another backbone than {job}" in (error := error_of([*source, f"--model.backbone.{changed}"], capsys))
        assert why in error
    shutil.copytree(job / "vit", "carries")
    shutil.copy("far.safetensors", "carries/pretraining_features.safetensors")
    beside = measure(job, "far", "--source=backbone", "--model.backbone.pretrained=carries")
    assert beside["proxy_a"] == kept["proxy_a"]


def test_no_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert "distance needs --recipe" in error_of(["distance", "--source=a"], capsys)
    main(["distance", "--help"])
    assert "--source PLACE" in capsys.readouterr().out


def test_words_have_limits_with_a_source() -> None:
    limits = Thresholds.shipped()
    assert [limits.word(accuracy) for accuracy in (0.5, 0.6, 0.89, 0.9)] == ["near", "apart", "apart", "far"]
    assert "No study" in limits.source


def test_classes_with_too_few_samples_are_left_out_and_told() -> None:
    draw = np.random.default_rng(0)
    classes = np.array(["a"] * 30 + ["b"] * 3)
    sides = [DomainSamples(name, draw.normal(size=(33, 4)), classes, total=33) for name in ("one", "two")]
    found = domain_distance(*sides, permutations=20)
    assert list(found.by_class) == ["a"]
    assert found.notes == ("b: too few samples or blocks on a side to be compared by class",)


def test_p_values_of_several_tests() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_features_that_ship_are_of_the_backbone_that_ships() -> None:
    backbone = HuggingFaceVision()
    assert read_features(beside_weights(backbone), backbone, "the shipped ViT").values.shape[1] == backbone.feature_dim
