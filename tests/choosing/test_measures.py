"""What runs of a study are scored by: each measure against a slow reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lightning_tl.choosing.study import Arm, StudyPlan
from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.measures import measure_facts, measure_of
from lightning_tl.choosing.study.outcome import Outcome
from lightning_tl.choosing.study.plan import Cell
from lightning_tl.choosing.study.report import write_report
from lightning_tl.choosing.study.scores import differences, scores, transfer
from lightning_tl.choosing.study.study_folder import StudyFolder


def run_of(folder: Path, described: dict[str, Any], table: pd.DataFrame) -> Path:
    """A run folder with a description and test predictions."""
    (folder / "predictions").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format": 1, **described}))
    table.to_parquet(folder / "predictions" / "test.parquet")
    return folder


def test_the_error_of_one_target_is_in_its_unit(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["b", "a"], "label": [3.0, 10.0], "predicted": [4.5, 8.0], "block": [7, 9]})
    described = {"task": "values", "class_names": ["height"], "targets": {"mean": [0.0], "std": [2.0]}}
    run = run_of(tmp_path / "run", described, table)
    measure = measure_of(measure_facts(run))
    found = measure.samples(run)
    assert found["value"].to_dict() == {"a": 2.0, "b": 1.5} and found["block"].tolist() == [9, 7]
    assert measure.lower_is_better and measure.text.startswith("Mean absolute error of height, in its unit")


def test_errors_of_several_targets_count_in_their_spreads(tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "label": [[1.0, 100.0], [2.0, 200.0]], "predicted": [[2.0, 110.0], [2.0, 170.0]]}
    described = {"task": "values", "class_names": ["x", "y"], "targets": {"mean": [0.0, 0.0], "std": [2.0, 10.0]}}
    run = run_of(tmp_path / "run", described, pd.DataFrame(rows))
    measure = measure_of(measure_facts(run))
    assert measure.samples(run)["value"].tolist() == [(1 / 2 + 10 / 10) / 2, (0 + 30 / 10) / 2]
    assert "over 2 targets, in standard deviations of each" in measure.text


@pytest.mark.parametrize(("items", "metric", "cut"), [(2000, "HR@100", 100), (60, "HR@10", 10), (20, "MRR", None)])
def test_a_users_gain_is_the_mean_of_their_queries(items: int, metric: str, cut: int | None, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    users = draw.choice(["u1", "u2", "u3"], 40)
    ranks = {name: draw.integers(1, items + 1, 40) for name in ("two_tower", "ease")}
    table = pd.DataFrame({"user": users, **{f"rank_{name}": found for name, found in ranks.items()}})
    run = run_of(tmp_path / "run", {"task": "retrieval", "data": {"items": items}}, table)
    measure = measure_of(measure_facts(run))
    for name, found in (("two_tower", measure.samples(run)), ("ease", measure.baselines(run)["ease"])):
        for user in ("u1", "u2", "u3"):
            own = [int(rank) for who, rank in zip(users, ranks[name], strict=True) if who == user]
            gains = [1 / rank if cut is None else float(rank <= cut) for rank in own]
            assert found.loc[user, "value"] == pytest.approx(sum(gains) / len(gains))
    assert measure.column == metric and list(measure.baselines(run)) == ["ease"]


@pytest.mark.parametrize(("task", "told"), [("dense", "predicts dense"), (None, "predicts none")])
def test_other_tasks_are_refused(task: str | None, told: str) -> None:
    with pytest.raises(
        ValueError, match=f"one label, several labels, values, pixel labels, retrieval, and this recipe {told}"
    ):
        measure_of({"task": task})


# ---------------------------------------------------------------- what is concluded


def study_of_values(folder: Path, errors: dict[str, float]) -> tuple[StudyPlan, Chosen]:
    """Two draws each of which only predictions and outcomes are there; an arm is off by about so much."""
    draw = np.random.default_rng(0)
    arms = [Arm(name, {}, {}, name != "from_scratch") for name in errors]
    plan, chosen, study = StudyPlan("r", arms, draws=2), Chosen(), StudyFolder(folder)
    for name, error in errors.items():
        chosen.rates[name, None] = None
        for k in range(2):
            cell, truth = Cell(name, None, k, None), np.arange(200.0)
            said = truth + error * draw.choice([-1, 1], 200) * draw.uniform(0.8, 1.2, 200)
            table = pd.DataFrame({"id": [f"s{i}" for i in range(200)], "label": truth, "predicted": said})
            described = {"task": "values", "class_names": ["height"], "targets": {"mean": [0.0], "std": [1.0]}}
            run_of(study.run(cell), described, table)
            (study.run(cell) / "summary.json").write_text('{"test": {}}')
            path = folder / "outcomes" / f"{cell.key}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**vars(Outcome(trainable=10, seconds=1.0, best=0.5)), "curve": []}))
    return plan, chosen


def test_of_errors_less_is_better(tmp_path: Path) -> None:
    plan, chosen = study_of_values(tmp_path, {"probe": 2.0, "worse": 5.0, "from_scratch": 3.0})
    study = StudyFolder(tmp_path)
    found = {score.arm: score.quality.mean for score in scores(plan, study, chosen)}
    assert found == {"probe": pytest.approx(2, abs=0.1), "worse": pytest.approx(5, abs=0.1),
                     "from_scratch": pytest.approx(3, abs=0.1)}  # fmt: skip
    gaps = differences(plan, study, chosen)
    assert {(gap.first, gap.second): gap.verdict for gap in transfer(plan, gaps)} == {
        ("probe", "from_scratch"): "ahead",
        ("worse", "from_scratch"): "behind",
    }
    best = next(gap for gap in gaps if gap.second == "worse")
    assert best.interval.mean == pytest.approx(found["worse"] - found["probe"])
    page, sentences = write_report(plan, study, chosen)
    text = (page.parent / "report.md").read_text()
    assert "probe has the lowest error, 2" in text and "It is ahead of worse, from_scratch." in text
    assert "Negative transfer: worse is behind from_scratch." in sentences
    assert "above 0 the first is better" in text and "| arm |" not in text
    assert set(pd.read_parquet(tmp_path / "report" / "scores.parquet")) >= {"arm", "mae", "low", "high"}


def test_outcomes_of_earlier_versions_are_read() -> None:
    old = {"error": None, "val_loss": 0.5, "curve": [[1, 0.5]], "trainable": 3}
    found = Outcome.from_json(json.dumps(old))
    assert (found.best, found.loss, found.monitor, found.curve) == (0.5, 0.5, "val_loss", ((1, 0.5),))
    assert Outcome(best=0.7, monitor="val_mrr", mode="max").loss == -0.7


def study_of_logs(folder: Path, ranks: dict[str, int], simple: dict[str, int]) -> tuple[StudyPlan, Chosen]:
    """Two seeds of each arm on 60 users with up to 5 queries; ranks lie about a number, best below 10."""
    draw = np.random.default_rng(0)
    users = np.repeat([f"u{k}" for k in range(60)], draw.integers(1, 6, 60))
    near = {name: draw.integers(max(1, rank - 4), rank + 5, len(users)) for name, rank in simple.items()}
    arms = [Arm(name, {}, {}, "ids" not in name) for name in ranks]
    plan, chosen, study = StudyPlan("r", arms, draws=2, baselines=True), Chosen(), StudyFolder(folder)
    for name, rank in ranks.items():
        chosen.rates[name, None] = None
        for k in range(2):
            cell = Cell(name, None, k, None)
            mine = draw.integers(max(1, rank - 4), rank + 5, len(users))
            columns = {"rank_two_tower": mine, **{f"rank_{other}": found for other, found in near.items()}}
            described = {"task": "retrieval", "data": {"items": 60}}
            run_of(study.run(cell), described, pd.DataFrame({"user": users, **columns}))
            (study.run(cell) / "summary.json").write_text('{"test": {}}')
            path = folder / "outcomes" / f"{cell.key}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**vars(Outcome(trainable=10, seconds=1.0, best=0.5)), "curve": []}))
    return plan, chosen


def test_what_a_log_says_of_transfer_and_of_simple_baselines(tmp_path: Path) -> None:
    plan, chosen = study_of_logs(tmp_path, {"texts": 7, "ids": 12, "ease": 8}, {"popularity": 13, "ease": 5, "even": 7})
    page, sentences = write_report(plan, StudyFolder(tmp_path), chosen)
    text = (page.parent / "report.md").read_text()
    assert "| texts | ids | helps |" in text and "| ease | ids | helps |" in text and "Negative transfer" not in text
    assert "| ids | undecided against | popularity |" in text and "| texts | beats | popularity |" in text
    assert "| texts | loses to | ease (baseline) |" in text, "the arm of that name is another"
    assert "ids loses to ease (baseline), even: what is simpler does better here." in sentences
    assert "texts is not shown to beat even." in sentences
    frame = pd.read_parquet(tmp_path / "report" / "scores.parquet").set_index("arm")
    assert frame["baseline"].to_dict() == {
        **dict.fromkeys(("texts", "ids", "ease"), False),
        **dict.fromkeys(("popularity", "ease (baseline)", "even"), True),
    }


def test_pretrained_towers_that_are_behind_are_told(tmp_path: Path) -> None:
    plan, chosen = study_of_logs(tmp_path, {"texts": 13, "ids": 6}, {})
    _, sentences = write_report(plan, StudyFolder(tmp_path), chosen)
    assert "Negative transfer: texts is behind ids." in sentences
    assert "HR@10" in pd.read_parquet(tmp_path / "report" / "scores.parquet")
