"""A user's own table of texts, from the command line to the exported model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cli_runs import error_of, start
from tiny_text import WORDS, save_text_model
from transformers import AutoTokenizer

from lightning_tl.backbones import load_exported
from lightning_tl.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose

RECIPE = """\
# Own texts.
model:
  class_path: lightning_tl.strategies.{strategy}
  init_args:
    backbone:
      class_path: lightning_tl.backbones.HuggingFaceText
      init_args:
        pretrained: {folder}/bert
data:
  class_path: datamodules.TextDataModule
  init_args:
    path: {folder}/own.csv
    text: body
    label: topic
    cache: {folder}/cache
    batch_size: 8
trainer:
  max_epochs: 2
  accelerator: cpu
  devices: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    save_text_model("bert", tmp_path)
    random = np.random.default_rng(0)
    topics = {
        "water": ("boat", "fish", "wet"),
        "clothes": ("dress", "shirt", "jacket"),
        "land": ("house", "car", "red"),
    }
    rows = [
        {"body": " ".join(random.permutation([*random.choice(WORDS, 4), *random.choice(own, 3)])), "topic": topic}
        for topic, own in topics.items()
        for _ in range(40)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "own.csv", index=False)
    return tmp_path


def recipe(folder: Path, strategy: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(RECIPE.format(strategy=strategy, folder=folder))
    return str(path)


@pytest.mark.usefixtures("drawn_pictures")
@pytest.mark.parametrize("strategy", ["FineTune", "LinearProbe", "FromScratch"])
def test_the_exported_model_gives_the_predictions_of_the_run(strategy: str, folder: Path) -> None:
    extra = ["--unfreezing.epochs_per_phase=1"] if strategy == "FineTune" else []
    main(["--recipe", recipe(folder, strategy), *extra])
    (run,) = (folder / "runs" / "mine").iterdir()
    assert json.loads((run / "summary.json").read_text())["test"]["samples"] == 17
    assert (run / "pictures" / "wrong_texts.png").is_file()
    predictions = pd.read_parquet(run / "predictions" / "test.parquet")
    own = pd.read_csv(folder / "own.csv")
    texts = [own["body"][int(name.removeprefix("row-")) - 1] for name in predictions["id"]]
    model = load_exported(run / "model")
    tokens = AutoTokenizer.from_pretrained(run / "model" / "backbone")(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(tokens.data).softmax(1).numpy()
    assert np.abs(found - np.stack(predictions["probabilities"])).max() < 1e-4
    main(["predict", "--run", str(run)])
    assert len(pd.read_parquet(run / "predictions" / "predict.parquet")) == 17


def test_the_probe_learns_what_words_say(folder: Path) -> None:
    main(["--recipe", recipe(folder, "FineTune"), "--trainer.max_epochs=12", "--model.backbone_lr=1e-3"])
    (run,) = (folder / "runs" / "mine").iterdir()
    assert pd.read_csv(run / "metrics.csv")["val_accuracy"].max() > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--data.text=boddy"],
            "has no column 'boddy'; did you mean body? It has body, topic. Set text to the right one",
        ),
        (["--data.path=owm.csv"], "there is no table owm.csv; did you mean own.csv?"),
        (["--data.max_length=99"], "max_length must be at most the backbone's 40 tokens, got 99"),
        (["--model.num_classes=5"], "num_classes is 5, but the data has 3 classes (clothes, land, water)"),
        (["--model.backbone.pooling=max"], "pooling"),
        (["--data=datamodules.ImageFolderDataModule", "--data.root=x"], "there is no folder"),
        (["--data.pth=own.csv"], "has no field 'pth' (nearest: path"),
    ],
)
def test_mistakes(options: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error_of(["--recipe", recipe(folder, "FineTune"), *options], capsys)
    assert not (folder / "runs").exists()


def test_two_processes(folder: Path) -> None:
    arguments = ["--recipe", recipe(folder, "FineTune"), "--trainer.strategy=ddp", "--trainer.devices=2"]
    process = start(arguments, folder)
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    (run,) = (folder / "runs" / "mine").iterdir()
    ids = pd.read_parquet(run / "predictions" / "test.parquet")["id"]
    assert len(ids) == ids.nunique() == 17
    assert output.count("Test on 17 samples") == 1
