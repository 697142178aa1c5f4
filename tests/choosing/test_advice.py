"""Which strategy is advised, what it is said to take, and how the tree stands beside a finished study."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cli_runs import error_of, make_job

from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.choosing.advice import AdviceThresholds, Facts, decide, order_of
from lightning_tl.choosing.advice.cost import Cost, StepTimes
from lightning_tl.choosing.advice.on_study import judge, recalibrated
from lightning_tl.choosing.distance.domain_samples import DomainSamples
from lightning_tl.choosing.distance.kept_features import FILE, write_features
from lightning_tl.cli import main

LIMITS = AdviceThresholds(100, 1_000, 100_000, "a test")
CHEAP = {
    name: Cost(60.0 * (k + 1), 2**30) for k, name in enumerate(("linear_probe", "lora", "fine_tune", "progressive"))
}


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        (Facts(99), "few_shot"),
        (Facts(100), "linear_probe"),
        (Facts(999, "far"), "linear_probe"),
        (Facts(1_000), "fine_tune"),
        (Facts(1_000, "near"), "fine_tune"),
        (Facts(1_000, "apart"), "fine_tune"),
        (Facts(1_000, "far"), "progressive"),
        (Facts(100_000, "far"), "fine_tune"),
        (Facts(50, pretrained=False), "from_scratch"),
    ],
)
def test_the_tree(facts: Facts, first: str) -> None:
    assert order_of(facts, LIMITS)[0][0] == first


def test_what_does_not_fit_the_budget_is_named_and_the_next_taken() -> None:
    advice = decide(Facts(5_000), LIMITS, CHEAP, budget_s=150)
    assert advice.strategy == "lora"
    told = " ".join(advice.reasons)
    assert "fine_tune would take 3 min" in told and "lora takes about 2 min" in told and "not measured" in told
    few = decide(Facts(60), LIMITS, {"class_means": Cost(1.0, 0)}, unfit={"few_shot": "it reads texts"})
    assert few.strategy == "class_means" and "few_shot does not fit: it reads texts." in few.reasons
    with pytest.raises(
        ValueError, match=r"a budget of 30 s is too small: the quickest of .* is linear_probe, .* 1 min"
    ):
        decide(Facts(5_000), LIMITS, CHEAP, budget_s=30)
    with pytest.raises(ValueError, match=r"no strategy fits: .*from_scratch does not fit: no"):
        decide(Facts(5_000, pretrained=False), LIMITS, {}, unfit={"from_scratch": "no"})


def test_a_whole_run_is_told_from_a_short_one() -> None:
    # 4 steps of 0.5 s and 2 batches of validation of 0.2 s an epoch, 0.6 s between epochs, 3 s before; the first step
    # waits for workers.
    times = StepTimes([2.0, 0.5, 0.5, 0.5] + [0.5] * 4, [0.2] * 4, [4.5, 3.0], 4, 2, 40, 10, 0.0)
    assert times.step_s == 0.5
    short = 3.0 + 2 * 3.0
    assert times.seconds(2, short) == pytest.approx(3.0 + 2 * (40 * 0.5 + 10 * 0.2 + 0.6))
    assert times.seconds(6, short) - times.seconds(5, short) == pytest.approx(22.6)
    assert times.seconds(1, short, share=0.5) == pytest.approx(3.0 + 40 * 0.25 + 2 + 0.6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "holds no thresholds"),
        ('{"probe_from": 1}', "holds no thresholds"),
        (json.dumps({**vars(LIMITS), "probe_from": 2_000}), "thresholds must ascend"),
        (json.dumps({**vars(LIMITS), "probe_from": -1}), "thresholds must ascend"),
    ],
)
def test_files_that_hold_no_thresholds(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        AdviceThresholds.read(tmp_path / "t.json")


def test_thresholds_are_written_and_read(tmp_path: Path) -> None:
    LIMITS.write(tmp_path / "t.json")
    assert AdviceThresholds.read(tmp_path / "t.json") == LIMITS
    assert AdviceThresholds.shipped().probe_from == 100


TABLE = {
    60: {"class_means": 0.6, "linear_probe": 0.7, "fine_tune": 0.5},
    300: {"class_means": 0.6, "linear_probe": 0.75, "fine_tune": 0.8},
    3_000: {"linear_probe": 0.8, "fine_tune": 0.9},
}


def test_advice_beside_a_study() -> None:
    found = {verdict.labels: verdict for verdict in judge(TABLE, LIMITS)}
    assert (found[60].advised, found[60].best) == ("class_means", "linear_probe")
    assert found[60].regret == pytest.approx(0.1) and found[300].regret == pytest.approx(0.05)
    assert found[3_000].regret == 0
    with pytest.raises(ValueError, match="no number of labels of this study"):
        judge({60: {"prompt_tuning": 0.5}}, LIMITS)


def test_thresholds_fitted_to_a_study() -> None:
    better = recalibrated([TABLE], LIMITS, "mine")
    assert sum(verdict.regret for verdict in judge(TABLE, better)) == 0
    assert better.probe_from <= 60 < better.fine_tune_from <= 300 and better.source == "fitted to mine"
    assert better.by_budget_from == LIMITS.by_budget_from
    good = {size: {"class_means": 0.5, "linear_probe": 0.5, "fine_tune": 0.5} for size in (60, 300)}
    assert recalibrated([good], LIMITS, "mine") == LIMITS, "nothing is gained by other ones"
    # No pair of thresholds on a fine grid is better.
    fine = [replace(LIMITS, probe_from=a, fine_tune_from=b) for a in range(0, 4_000, 50) for b in range(a, 4_000, 50)]
    shaken = {
        size: {name: score + (size * len(name)) % 7 / 50 for name, score in row.items()} for size, row in TABLE.items()
    }
    least = min(sum(verdict.regret for verdict in judge(shaken, limits)) for limits in fine)
    assert sum(v.regret for v in judge(shaken, recalibrated([shaken], LIMITS, "m"))) == pytest.approx(least)


# ---------------------------------------------------------------- on the command line


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:.*groups never train")
def test_a_recipe_is_written_that_runs(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The weights carry features of what they were pretrained on, which is far from the images."""
    AdviceThresholds(1, 2, 100_000, "a test").write(tmp_path / "t.json")
    shutil.copytree(job.parent / "vit", "carries")
    backbone = HuggingFaceVision("carries")
    features = np.random.default_rng(0).normal(9, 1, (60, backbone.feature_dim))
    write_features(tmp_path / "carries" / FILE, DomainSamples("another planet", features, total=60), backbone)
    own = ["--data.batch_size=5", "--model.backbone.pretrained=carries"]
    main(["advise", "--recipe", str(job), "--thresholds=t.json", "--budget=1h", *own])
    told = " ".join(capsys.readouterr().out.split())
    assert "distance: far, a classifier tells the two apart with accuracy 1.000" in told
    assert "The data are far from what it was trained on: layers are thawed one after the other." in " ".join(
        told.split()
    )
    assert "advice: progressive" in told and "next: lightning-tl --recipe advised.yaml" in told
    written: dict[str, Any] = yaml.safe_load((tmp_path / "advised.yaml").read_text())
    assert written["model"]["class_path"].endswith("FineTune") and written["data"]["init_args"]["batch_size"] == 5
    assert not [*tmp_path.glob("runs/*"), *tmp_path.glob("backbone_features")], "trials leave nothing behind"
    main(["--recipe", "advised.yaml", "--trainer.max_epochs=1", "--unfreezing.groups_per_phase=9", "--run_folder=run"])
    assert (tmp_path / "run" / "summary.json").is_file()


def test_limits_of_the_backbone_and_small_budgets(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = error_of(["advise", "--recipe", str(job), "--max_size=0.001", "--max_latency=1000"], capsys)
    assert "MiB, more than the 0.001 MiB allowed, and no strategy makes it smaller; rank smaller ones" in small
    budget = error_of(["advise", "--recipe", str(job), "--budget=0.001s"], capsys)
    assert budget.startswith("a budget of") and "is too small: the quickest of" in budget


def test_mistakes_before_anything_runs(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases: list[tuple[list[str], str]] = [
        ([], "advise needs --recipe NAME|PATH, or --study FOLDER"),
        (["--recipe", str(job), "--study", "s"], "and not both"),
        (["--recipe", "satelite_vit"], "there is no recipe 'satelite_vit'"),
        (["--recipe", "two_tower"], "advise is for strategies of classification"),
        (["--recipe", str(job), "--budget", "long"], "budget must be a positive length such as 90s"),
        (["--recipe", str(job), "--budget", "0min"], "budget must be a positive length"),
        (["--recipe", str(job), "--max_size", "-1"], "max_size must be a number above 0, got -1"),
        (["--recipe", str(job), "--max_latency", "inf"], "max_latency must be a number above 0, got inf"),
        (["--recipe", str(job), "--output", "no/such/x.yaml"], "output must be a .yaml file in a folder that is there"),
        (["--recipe", str(job), "--output", "x.json"], "output must be a .yaml file"),
        (["--recipe", str(job), "--write", "t.json"], "name it with --study"),
        (["--recipe", str(job), "--thresholds", "none.json"], "none.json holds no thresholds"),
        (["--recipe", str(job), "fine_tune"], "advise does not know fine_tune"),
        (["--study", "s", "--data.root=x"], "advise does not know --data.root=x"),
        (["--study", "s"], "s is no study: it has no study.json"),
        (["--recipe", str(job), "--run_folder=x"], "--run_folder is set by the trials themselves"),
    ]
    for arguments, message in cases:
        assert message in error_of(["advise", *arguments], capsys)
    assert not (tmp_path / "advised.yaml").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["advise", "--help"])
    assert "Which strategy to try first on your data" in capsys.readouterr().out
