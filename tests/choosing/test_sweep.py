"""`lightning-tl sweep`: what is searched, what a killed sweep repeats, and the recipe that comes out."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from cli_runs import ROOT, error_of, make_job
from warm_python import warm_executable

from lightning_tl.choosing.sweep.pictures import importances
from lightning_tl.choosing.sweep.space import Space
from lightning_tl.choosing.sweep.sweep import Sweep, key, set_field

SEARCH = ["--search", "model.lr=log:1e-4:1e-1", "data.batch_size=choice:4,8"]


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("model.lr=log:1e-5:1e-2", Space("model.lr", "log", 1e-5, 1e-2)),
        ("model.dropout=float:0:0.5", Space("model.dropout", "float", 0, 0.5)),
        ("trainer.max_epochs=int:1:8", Space("trainer.max_epochs", "int", 1, 8)),
        ("model.head_hidden=choice:null,64", Space("model.head_hidden", "choice", choices=("null", "64"))),
    ],
)
def test_spaces(text: str, space: Space) -> None:
    assert Space.parse(text) == space
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    value = space.suggest(trial)
    assert value in space.choices if space.choices else space.low <= float(value) <= space.high


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.lr", "a search must be FIELD=log:LOW:HIGH"),
        ("model.lr=between:1:2", "a search must be FIELD=log:LOW:HIGH"),
        ("model.lr=log:1", "the search of model.lr must be log:LOW:HIGH"),
        ("model.lr=log:a:b", "the search of model.lr must be log:LOW:HIGH"),
        ("model.lr=log:0:1", "must begin above 0, got 0"),
        ("model.lr=float:2:1", "from a lower to a higher number, got 2:1"),
        ("model.lr=float:0:inf", "from a lower to a higher number"),
        ("trainer.max_epochs=int:1:2.5", "between whole numbers, got 1:2.5"),
        ("model.x=choice:a", "at least 2 different ones, got a"),
        ("model.x=choice:a,a", "at least 2 different ones"),
    ],
)
def test_spaces_without_sense(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Space.parse(text)


def test_sweeps_without_sense() -> None:
    lr = Space.parse("model.lr=log:1e-5:1e-2")
    for spaces, options, message in (
        ((), (), "at least one search"),
        ((lr, lr), (), "model.lr is searched twice"),
        ((lr,), ("--model.lr=1",), "model.lr is searched and set as well"),
    ):
        with pytest.raises(ValueError, match=message):
            Sweep("r", {}, spaces, options)


def test_fields_of_a_recipe_are_set() -> None:
    recipe: dict[str, Any] = {"model": {"class_path": "M", "init_args": {"backbone": "B", "lr": 1}}, "data": "D"}
    for field, value in (
        ("model.lr", 2),
        ("model.backbone.pretrained", "p"),
        ("data.root", "x"),
        ("trainer.max_steps", 3),
    ):
        set_field(recipe, field, value)
    assert recipe == {
        "model": {
            "class_path": "M",
            "init_args": {"backbone": {"class_path": "B", "init_args": {"pretrained": "p"}}, "lr": 2},
        },
        "data": {"class_path": "D", "init_args": {"root": "x"}},
        "trainer": {"max_steps": 3},
    }


def test_a_field_that_decides_matters_most() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert importances(study) == {}
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1) ** 2 + 0 * trial.suggest_float("b", 0, 1), n_trials=40)
    found = importances(study)
    assert found["a"] > 0.8 and sum(found.values()) == pytest.approx(1)


def test_a_run_lies_where_its_values_say() -> None:
    assert key({"a": 1, "b": 2.5}) == key({"b": 2.5, "a": 1}) != key({"a": 1, "b": 2.6})


def start_sweep(job: Path, folder: Path, trials: int) -> subprocess.Popen[str]:
    few = ["--trainer.max_epochs=1", "--unfreezing=null", "--trials", str(trials), "--study", "s"]
    command = [warm_executable(), str(ROOT / "scripts" / "fit.py"), "sweep", "--recipe", str(job), *SEARCH, *few]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_sweep_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = make_job(tmp_path)
    killed = start_sweep(job, tmp_path, 3)
    deadline = time.monotonic() + 200
    while not list((tmp_path / "s" / "runs").glob("*/config.yaml")) and time.monotonic() < deadline:
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    last = start_sweep(job, tmp_path, 3)
    told, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert "[3 of 3]" in told and "best: val_loss" in told
    runs = sorted(path.name for path in (tmp_path / "s" / "runs").iterdir())
    assert len(runs) == 3, "the killed trial was asked for again with the same values"
    best = yaml.safe_load((tmp_path / "s" / "best.yaml").read_text())
    assert best["model"]["init_args"]["lr"] > 0 and best["data"]["init_args"]["batch_size"] in (4, 8)
    assert best["trainer"]["max_epochs"] == 1 and best["unfreezing"] is None
    assert not list((tmp_path / "s").rglob("test.parquet")), "no test data are read"
    assert (tmp_path / "s" / "sweep.png").is_file()
    assert json.loads((tmp_path / "s" / "sweep.json").read_text())["seed"] == 0


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    recipe = ["--recipe", "satellite_fine_tune"]
    for arguments, message in (
        ([], "sweep needs --recipe"),
        (recipe, "sweep needs --search FIELD=SPACE"),
        ([*recipe, *SEARCH, "--trials", "0"], "trials must be at least 1, got 0"),
        ([*recipe, "--search", "model.lr=log"], "the search of model.lr must be log:LOW:HIGH"),
        ([*recipe, *SEARCH, "--test=true"], "--test is set by the sweep itself"),
        ([*recipe, *SEARCH, "--study", "full"], "no sweep and not empty (it has letter.txt)"),
        ([*recipe, "--search", "model.lrr=log:1e-4:1e-2"], "the first 3 trials failed; the last: "),
    ):
        assert message in error_of(["sweep", *arguments], capsys)
