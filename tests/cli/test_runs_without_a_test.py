"""Runs whose data have nothing to test on or change, and runs with several columns of targets: their whole life."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import error_of, make_job
from tiny_text import WORDS

from lightning_tl.cli import main
from lightning_tl.contracts.run_description import RunDescription

pytestmark = pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of")

SHORT = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.devices=1"]
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    return tmp_path


def table(name: str, rows: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    kinds = np.array(["low", "high"])[np.arange(rows) % 2]
    texts = [" ".join([*draw.choice(WORDS, 5), *["red" if kind == "low" else "boat"] * 3]) for kind in kinds]
    frame = pd.DataFrame({"text": texts, "label": kinds, "a": np.arange(rows) % 7, "b": draw.normal(size=rows)})
    frame.to_csv(name, index=False)
    return frame


def train(models: Path, *options: str, recipe: str = "text_fine_tune") -> Path:
    backbone = f"--model.backbone.pretrained={models / 'bert'}"
    main(["--recipe", recipe, backbone, *SHORT, *QUIET, "--data.cache=cache", "--run_folder=run", *options])
    return Path("run")


def test_a_test_part_without_labels_ends_a_run_well(saved_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table("own.csv").assign(split=["train"] * 40 + ["test"] * 20)
    frame.loc[frame.split == "test", "label"] = None
    frame.to_csv("own.csv", index=False)
    run = train(saved_models, "--data.path=own.csv")
    out = capsys.readouterr().out
    assert "own.csv has no texts to test on: the run ends with the best model untested" in out
    assert "the 20 test rows of own.csv have no labels: predict reads them" in out
    assert (run / "model" / "classifier.json").is_file() and (run / "summary.txt").is_file()
    description = RunDescription.read(run)
    assert description is not None and description.splits["test"]["samples"] == 0
    message = error_of(["test", "--run", "run"], capsys)
    assert message.endswith("own.csv has no labels in its test split; predict --run writes predictions")
    main(["predict", "--run", "run"])
    found = pd.read_parquet(run / "predictions" / "predict.parquet")
    assert found["id"].tolist() == [f"row-{k}" for k in range(41, 61)]
    main(["fit", "--resume", "run", "--trainer.max_epochs=2"])
    assert "test" not in json.loads((run / "summary.json").read_text())


def test_without_a_share_for_a_test(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = make_job(home)
    main(["--recipe", str(recipe), *SHORT, "--unfreezing=null", "--data.test_fraction=0", "--run_folder=run"])
    assert "has no images to test on" in capsys.readouterr().out
    assert (home / "run" / "model" / "config.json").is_file()


@pytest.mark.parametrize("option", ["--trainer.limit_train_batches=1", "--trainer.overfit_batches=1"])
def test_training_on_a_part_of_the_samples_is_told(option: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = make_job(home)
    main(["--recipe", str(recipe), *SHORT, "--unfreezing=null", option, "--run_folder=run"])
    assert "training read only a part of its samples (limit_train_batches=1)" in capsys.readouterr().out
    main(["test", "--run", "run"])
    assert "training read only a part of its samples (limit_train_batches=1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("label", "options", "recipe"),
    [
        ("[a,b]", ["--data.task=regression"], "text_fine_tune"),
        ('["yes","no"]', [], "text_linear_probe"),
    ],
)
def test_several_columns_of_targets_are_no_part_of_prediction(
    label: str, options: list[str], recipe: str, saved_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table("own.csv")
    frame.assign(yes=(frame.label == "low") * 1, no=(frame.label == "high") * 1).to_csv("own.csv", index=False)
    run = train(saved_models, "--data.path=own.csv", f"--data.label={label}", *options, recipe=recipe)
    frame[["text"]].head(3).to_csv("new.csv", index=False)
    main(["predict", "--run", "run", "--data.path=new.csv"])
    assert len(pd.read_parquet(run / "predictions" / "predict.parquet")) == 3
    capsys.readouterr()
    pd.read_csv("own.csv").head(4).to_csv("labelled.csv", index=False)
    main(["predict", "--run", "run", "--data.path=labelled.csv"])
    assert len(pd.read_parquet(run / "predictions" / "predict.parquet")) == 4


def test_images_of_classes_that_are_not_wanted_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = make_job(home)
    wanted = "--data.class_names=[lake,town]"
    main(["--recipe", str(recipe), *SHORT, "--unfreezing=null", wanted, "--run_folder=run"])
    assert "20 images of field are left out, as class_names does not list them" in capsys.readouterr().out
    description = RunDescription.read(home / "run")
    assert description is not None
    assert description.dropped == {"images of classes that class_names leaves out": 20}


def test_columns_named_like_truth_values(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(["--recipe", "text_fine_tune", "--data.label=[yes,no]"], capsys)
    assert message.startswith("data.label: expected text") and '["yes", "1"]' in message


def test_values_that_no_metric_can_add_up(saved_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table("own.csv").assign(a=lambda frame: frame.a * 1e16).to_csv("own.csv", index=False)
    backbone = f"--model.backbone.pretrained={saved_models / 'bert'}"
    options = ["--data.path=own.csv", "--data.label=a", "--data.task=regression", *SHORT, *QUIET]
    message = error_of(["--recipe", "text_fine_tune", backbone, *options], capsys)
    assert "column 'a' of own.csv must hold finite numbers up to 1e+15" in message


def test_data_that_changed_since_training_are_told(saved_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table("own.csv").assign(split=["train"] * 40 + ["validation"] * 10 + ["test"] * 10)
    frame.to_csv("own.csv", index=False)
    run = train(saved_models, "--data.path=own.csv")
    frame.sample(frac=1, random_state=0).to_csv("own.csv", index=False)  # in another order: the same samples
    main(["test", "--run", "run"])
    assert "has changed" not in capsys.readouterr().out
    frame.assign(split=["test"] * 20 + ["train"] * 20 + ["validation"] * 10 + ["train"] * 10).to_csv(
        "own.csv", index=False
    )
    main(["test", "--run", "run"])
    assert "own.csv has changed since the run was trained: its test split had 10 texts then and has 20 now" in (
        " ".join(capsys.readouterr().out.split())
    )
    main(["fit", "--resume", "run", "--trainer.max_epochs=2"])
    assert "trained on     30 (validation 10, test 20)" in capsys.readouterr().out
    description = RunDescription.read(run)
    assert description is not None and description.splits["train"]["samples"] == 30
    frame.assign(label=frame.label[::-1].tolist()).to_csv("own.csv", index=False)
    main(["test", "--run", "run"])
    assert "its test split had 20 texts then and has 10 now" in " ".join(capsys.readouterr().out.split())
