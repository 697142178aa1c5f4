"""`lightning-tl compare` on event logs: real studies, what their numbers are, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from cli_runs import error_of
from tiny_retrieval import write_log

from lightning_tl.choosing.study import arm_of, log_arms
from lightning_tl.cli import main
from lightning_tl.cli.reading.recipes import find_recipe

TINY: dict[str, Any] = {
    "model": {
        "class_path": "lightning_tl.retrieval.TwoTower",
        "init_args": {
            "items": {"class_path": "lightning_tl.retrieval.ItemTower", "init_args": {"dim": 8, "hidden": 16}},
            "lr": 0.01,
        },
    },
    "data": {
        "class_path": "datamodules.InteractionDataModule",
        "init_args": {"completion": "completion", "history_length": 6, "batch_size": 8, "num_workers": 0},
    },
    "checkpoint": {"monitor": "val_mrr", "mode": "max"},
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, a recipe for it, and an arm that changes it."""
    folder = tmp_path_factory.mktemp("logs")
    log = write_log(folder / "log")
    data = TINY["data"]["init_args"] | {"events": str(log / "events.parquet"), "cache": str(folder / "cache")}
    recipe = TINY | {"data": TINY["data"] | {"init_args": data}}
    (folder / "tiny.yaml").write_text("# A small log.\n" + yaml.safe_dump(recipe))
    (folder / "mean.yaml").write_text(
        "# Histories as a mean.\nfields: {model.users: lightning_tl.retrieval.HistoryMean}\n"
    )
    return folder


@pytest.fixture(scope="module")
def study(folder: Path) -> Path:
    """The recipe and the changed one, two seeds each, at their own rate."""
    arms = ["--strategies", str(folder / "tiny.yaml"), str(folder / "mean.yaml")]
    words = ["--recipe", str(folder / "tiny.yaml"), *arms, "--draws", "2", "--search", "1"]
    main(["compare", *words, "--study", str(folder / "study")])
    return folder / "study"


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return folder


def per_user(run: Path, model: str) -> pd.Series:
    """MRR of each user, from the ranks, as anybody would write it."""
    table = pd.read_parquet(run / "predictions" / "test.parquet")
    table["gain"] = 1 / table[f"rank_{model}"]
    return table.groupby("user")["gain"].mean()


def test_scores_are_means_over_users_of_the_runs_and_of_the_baselines(study: Path) -> None:
    found = pd.read_parquet(study / "report" / "scores.parquet").set_index("arm")
    runs = {arm: [study / "runs" / arm / "all" / f"draw-{k}" / "rate-0.01" for k in (0, 1)] for arm in ("tiny", "mean")}
    for arm, own in runs.items():
        assert found.loc[arm, "MRR"] == pytest.approx(np.mean([per_user(run, "two_tower").mean() for run in own]))
        assert not found.loc[arm, "baseline"] and found.loc[arm, "trainable"] > 0
    for name in ("popularity", "recent_popularity", "ease"):
        assert found.loc[name, "MRR"] == pytest.approx(per_user(runs["tiny"][0], name).mean())
        assert found.loc[name, "baseline"] and not found.loc[name, "on_front"]
    gaps = pd.read_parquet(study / "report" / "differences.parquet").set_index(["first", "second"])
    assert len(gaps) == 1 + 2 * 3, "arms with one another, and each with each baseline"
    own = np.mean([per_user(run, "two_tower") - per_user(run, "ease") for run in runs["tiny"]])
    assert gaps.loc[("tiny", "ease"), "difference"] == pytest.approx(own)
    assert gaps.loc[("tiny", "ease"), "verdict"] == "behind", "one epoch is no match"


def test_the_report_speaks_of_users_and_of_no_labels(study: Path) -> None:
    text = (study / "report" / "report.md").read_text()
    users = len(per_user(study / "runs" / "tiny" / "all" / "draw-0" / "rate-0.01", "two_tower"))
    brackets = f"brackets are 95% intervals (bootstrap over runs and samples, {users} test users)"
    assert f"MRR, the mean over test users of each one's queries; {brackets}" in text
    assert "tiny loses to ease: what is simpler does better here." in text
    assert "| tiny | loses to | ease |" in text and "| rate: val_mrr |" in text
    assert "label" not in text.replace("labels]", "") and "helps" not in text, text


def test_users_without_test_events_are_not_counted(study: Path, folder: Path) -> None:
    """They are no zeros in the mean: nobody asked for them."""
    run = study / "runs" / "tiny" / "all" / "draw-0" / "rate-0.01"
    described = json.loads((run / "run.json").read_text())
    asked = per_user(run, "two_tower")
    assert described["data"]["users"] == 60 > described["splits"]["test"]["users"] == len(asked)
    assert pd.read_parquet(study / "samples.parquet")["id"].tolist() == sorted(asked.index)


def test_the_rate_is_chosen_by_the_monitored_metric_in_its_direction(study: Path) -> None:
    outcome = json.loads((study / "outcomes" / "tiny" / "all" / "draw-0" / "rate-0.01.json").read_text())
    metrics = pd.read_csv(study / "runs" / "tiny" / "all" / "draw-0" / "rate-0.01" / "metrics.csv")
    assert (outcome["monitor"], outcome["mode"]) == ("val_mrr", "max")
    assert outcome["best"] == pytest.approx(metrics["val_mrr"].max())


def test_what_is_kept_has_the_same_report(study: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("study.json", "results.parquet", "samples.parquet"):
        shutil.copyfile(study / name, kept / name)
    main(["compare", "--report", "--study", str(kept)])
    assert (kept / "report" / "report.md").read_text() == (study / "report" / "report.md").read_text()


# ---------------------------------------------------------------- variants that come with the project

ITEMS = "model.init_args.items.init_args"
CHANGES: dict[str, dict[str, Any]] = {
    "no_log_q": {"model.init_args.log_q": False},
    "no_masking": {"model.init_args.mask_taken": False},
    "hard_negatives": {"data.init_args.hard_negatives": 1},
    "no_uniform": {"data.init_args.uniform_negatives": 0},
    "no_item_to_user": {"model.init_args.item_to_user": 0.0},
    "ids_alone": {f"{ITEMS}.encoder": None},
    "no_ids": {f"{ITEMS}.ids": False},
    "history_mean": {"model.init_args.users.class_path": "lightning_tl.retrieval.HistoryMean"},
}


def fields(recipe: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Every field of a recipe as the command line reads it, by its dotted name."""
    with pytest.raises(SystemExit):
        main(["--recipe", str(recipe), "--print_config"])

    def flat(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name: value}
        return {key: leaf for part, one in value.items() for key, leaf in flat(one, f"{name}.{part}").items()}

    return {name.removeprefix("."): value for name, value in flat(yaml.safe_load(capsys.readouterr().out), "").items()}


def test_each_variant_is_the_recipe_with_one_thing_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = find_recipe("movielens_two_tower")
    base, whole = yaml.safe_load(recipe.read_text()), fields(recipe, capsys)
    assert log_arms().keys() == CHANGES.keys()
    for name, path in log_arms().items():
        arm = arm_of(str(path), base)
        file = tmp_path / f"{name}.yaml"
        file.write_text("# A variant.\n" + yaml.safe_dump(arm.recipe))
        found = fields(file, capsys)
        differing = {field for field in whole.keys() | found.keys() if whole.get(field, "-") != found.get(field, "-")}
        for field, value in CHANGES[name].items():
            assert found[field] == value and any(each.startswith(field) for each in differing), name
        changed = tuple(field.removesuffix(".class_path") for field in CHANGES[name])
        assert all(field.startswith(changed) for field in differing), (name, differing)
        assert arm.pretrained == (name != "ids_alone") and arm.search == {"model.lr": 1.0}


# ---------------------------------------------------------------- mistakes


def test_mistakes_before_anything_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = ["--recipe", str(here / "tiny.yaml")]
    strange = Path("strange.yaml")
    strange.write_text("fields: {model.lr: 0.1}\ntrainer: {max_epochs: 2}\n")
    Path("flat.yaml").write_text("fields: {lr: 0.1}\n")
    Path("deep.yaml").write_text("fields: {model.lr.much: 0.1}\n")
    Path("perhaps.yaml").write_text("pretrained: perhaps\nfields: {}\n")
    Path("typo.yaml").write_text("feilds: {model.lr: 0.1}\n")
    Path("empty.yaml").write_text("# nothing\ntrainer: {max_epochs: 3}\n")
    cases = [
        (["--strategies", "fine_tune", "tiny.yaml"], "fine_tune is a strategy of classification, and the recipe tiny"),
        (["--strategies", "two_towre"], "there is no recipe or variant 'two_towre' (nearest: two_tower"),
        (["--strategies", "tiny", "no_idz"], "there is no recipe or variant 'tiny'"),
        (["--strategies", "no_idz"], "there is no recipe or variant 'no_idz' (nearest: no_ids"),
        (["--labels_per_class", "10"], "labels_per_class is for classes, and the recipe tiny learns from an event log"),
        (["--no_baselines"], "a comparison needs at least 2 strategies, got tiny"),
        (["--source", "shipped"], "--source is for classification"),
        (["--strategies", "strange.yaml"], "has fields and sections (trainer): write the sections as fields, too"),
        (["--strategies", "flat.yaml"], "changes 'lr', which is no field: write it as model.lr"),
        (["--strategies", "deep.yaml"], "there is no field model.lr.much: 'lr' is 0.01"),
        (["--strategies", "perhaps.yaml"], "pretrained must be true or false, got 'perhaps'"),
        (["--strategies", "typo.yaml"], "there is no field 'feilds' (nearest: fields)"),
        (["--strategies", "empty.yaml"], "has no model, so it is no arm"),
    ]
    for words, message in cases:
        assert message in error_of(["compare", *recipe, *words], capsys)
    assert not Path("studies").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("data.exclude: none", "its data are not those of tiny: other validation samples"),
        ("data.max_events_per_user: 4", "its data are not those of tiny: other train samples"),
        ("data.train_on_validation: true", "it has no validation, by which its rate could be chosen"),
        ("checkpoint.monitor: null", "its checkpoint monitors nothing, by which its rate could be chosen"),
    ],
)
def test_arms_that_cannot_be_compared_end_after_a_trial_of_two_steps(
    here: Path, changed: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.yaml").write_text(f"fields: {{{changed}}}\n")
    arms = ["--strategies", str(here / "tiny.yaml"), "other.yaml", "--study", "s"]
    found = error_of(["compare", "--recipe", str(here / "tiny.yaml"), *arms], capsys)
    assert found.startswith("other does not fit: ") and message in found
    assert not Path("s/runs").exists()


def test_a_test_window_of_one_user_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = pd.read_parquet(here / "log" / "events.parquet")
    last = events[events["completion"] > 0.5]["time"].max()
    late = pd.DataFrame({"user": ["u0"], "item": ["i999"], "time": [last + 10], "completion": [1.0]})
    pd.concat([events, late]).to_parquet("late.parquet")
    words = ["--data.events=late.parquet", f"--data.test={last + 5}", "--study", "s"]
    found = error_of(["compare", "--recipe", str(here / "tiny.yaml"), *words], capsys)
    assert "its test window has 1 user, and intervals need 2: let it begin earlier" in found


def test_a_sweep_goes_by_what_the_recipe_monitors(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = ["--search", "model.lr=log:1e-6:0.1", "--trials", "2", "--study", "sweep"]
    main(["sweep", "--recipe", str(here / "tiny.yaml"), *search, "--trainer.max_epochs=3"])
    told = capsys.readouterr().out
    found = {float(rate): float(value) for rate, value in re.findall(r"model\.lr (\S+): val_mrr (\S+) ", told)}
    assert len(found) == 2 and f"best: val_mrr {max(found.values()):.4f}" in told.splitlines()
    best = max(found, key=lambda rate: found[rate])
    assert yaml.safe_load(Path("sweep/best.yaml").read_text())["model"]["init_args"]["lr"] == pytest.approx(
        best, rel=1e-4
    )
