"""`lightning-tl forget`: runs of every strategy, sources of images and texts, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_runs import error_of, make_job
from tiny_text import WORDS, save_text_model

from lightning_tl.cli import main

STRATEGIES = {
    "full": ["--unfreezing=null", "--model.lr=0.05", "--model.backbone_lr=0.05"],
    "lora": ["--unfreezing=null", "--model=lightning_tl.strategies.LoRAFineTune", "--model.lr=0.05"],
    "adapters": ["--unfreezing=null", "--model=lightning_tl.strategies.AdapterFineTune", "--model.lr=0.05"],
    "prompts": ["--unfreezing=null", "--model=lightning_tl.strategies.PromptTuning", "--model.lr=0.05"],
    "probe": ["--unfreezing=null", "--model=lightning_tl.strategies.LinearProbe"],
    "scratch": ["--unfreezing=null", "--model=lightning_tl.strategies.FromScratch"],
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*groups never train"),
    pytest.mark.filterwarnings("ignore:.*discarding init_args"),
]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, and one run of each strategy."""
    folder = tmp_path_factory.mktemp("job")
    recipe = make_job(folder)
    for name, options in STRATEGIES.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
            where = ["--run_folder", str(folder / name), "--test=false", "--report.export=false"]
            main(["--recipe", str(recipe), *where, "--trainer.max_epochs=1", *options])
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)


def forget(job: Path, run: str, *options: str) -> dict[str, Any]:
    source = [] if any(option.startswith("--source") for option in options) else [f"--source={job}/images"]
    main(["forget", "--run", str(job / run), "--output=found.json", "--data.num_workers=0", *source, *options])
    found: dict[str, Any] = json.loads(Path("found.json").read_text())
    return found


@pytest.mark.parametrize("run", ["full", "lora", "adapters", "prompts"])
def test_runs_that_adapt(run: str, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = forget(job, run)
    assert list(found["alignment"]) == ["embeddings", "block.0", "block.1", "features"]
    assert found["alignment"]["features"] < 1 - 1e-6
    assert found["change"]["mean"] == pytest.approx(found["after"]["mean"] - found["before"]["mean"])
    assert found["before"]["mean"] > 0.8
    assert (found["samples"], found["folds"]) == (55, 5)
    same = found["alignment"]["embeddings"] == pytest.approx(1, abs=1e-9)
    assert same == (run != "full"), "what is added lies after the embeddings"
    assert "embedded 55 samples" in capsys.readouterr().out
    if run == "lora":
        assert forget(job, run) == found
        assert "embedded" not in capsys.readouterr().out


def test_a_frozen_backbone_forgets_nothing(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["forget", "--run", f"{job}/probe", f"--source={job}/images", "--data.num_workers=0", "--output=kept.json"])
    assert "left every weight of" in capsys.readouterr().out
    assert json.loads(Path("kept.json").read_text())["unchanged"] is True


def test_a_table_of_images_with_few_labels(job: Path) -> None:
    files = sorted((job / "images").rglob("*.png"))
    rows = {"path": [str(file) for file in files], "label": [f"kind {k % 2}" for k in range(len(files))]}
    pd.DataFrame(rows).to_csv("source.csv", index=False)
    found = forget(job, "lora", "--source=source.csv", "--data.labels_per_class=10")
    assert 20 <= found["samples"] < 60
    assert found["before"]["mean"] < 0.9  # these labels say nothing of the images


def test_texts(tmp_path: Path) -> None:
    save_text_model("bert", tmp_path)
    random = np.random.default_rng(0)
    for name, column, count in (("own", "topic", 60), ("source", "kind", 90)):
        bodies = [" ".join(random.choice(WORDS, random.integers(2, 12))) for _ in range(count)]
        kinds = ["long" if len(body) > 30 else "short" for body in bodies]
        pd.DataFrame({"body": bodies, column: kinds}).to_csv(f"{name}.csv", index=False)
    backbone = "--model.backbone=lightning_tl.backbones.HuggingFaceText"
    data = ["--data=datamodules.TextDataModule", "--data.path=own.csv", "--data.text=body", "--data.label=topic"]
    small = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--test=false", "--report.export=false"]
    model = ["--model=lightning_tl.strategies.FineTune", backbone, f"--model.backbone.pretrained={tmp_path}/bert"]
    main(["fit", *model, *data, *small, "--run_folder=run", f"--data.cache={tmp_path}/cache"])
    columns = ["--data.text=body", "--data.label=kind", f"--data.cache={tmp_path}/cache"]
    found = forget(tmp_path, "run", "--source=source.csv", *columns)
    assert found["before"]["mean"] > 0.6
    assert 0 < found["alignment"]["features"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source={job}/images"], "forget needs --run RUN"),
        (["--run={job}/lora"], "--source is needed"),
        (["--run={job}/lora", "--source=a", "--data=b"], "--source does not go with --data"),
        (["--run={job}/nowhere", "--source=a"], "there is no run folder"),
        (["--run={job}/images", "--source=a"], "is not the folder of a run"),
        (["--run={job}/lora", "--source=nowhere"], "there is no source nowhere"),
        (["--run={job}/lora", "--source={job}/images", "--model.lr=1"], "--model.lr=1 would change the run's model"),
        (["--run={job}/lora", "--source={job}/images", "--output=a.csv"], "must be a .json file"),
        (["--run={job}/lora", "--source={job}/images", "--data.rot=1"], "has no field 'rot' (nearest: root)"),
        (["--run={job}/lora", "--source={job}/vit"], "{job}/vit"),
        (["--run={job}/lora", "--source=texts.csv"], "path"),
        (["--run={job}/scratch", "--source={job}/images"], "trained its backbone from scratch (FromScratch)"),
        (["--run={job}/lora", "--source={job}/images", "--ckpt_path=no.ckpt"], "no.ckpt"),
        (["--run={job}/lora", "--source={job}/images", "--ckpt_path={job}/full/checkpoints/last.ckpt"], "does not fit"),
        (["--run=empty", "--source={job}/images"], "has no checkpoint, so there is nothing adapted"),
    ],
)  # fmt: skip
def test_mistakes(options: list[str], message: str, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"text": ["a", "b"], "label": ["c", "d"]}).to_csv("texts.csv", index=False)
    Path("empty").mkdir()
    shutil.copy(job / "lora" / "config.yaml", "empty")
    given = [option.replace("{job}", str(job)) for option in options]
    assert message.replace("{job}", str(job)) in error_of(["forget", *given], capsys)
