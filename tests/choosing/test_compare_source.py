"""`compare --source`: what each strategy left of what the backbone knew, kept in the study and told in its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_runs import error_of, make_job

from lightning_tl.choosing.study import StudyPlan
from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.source import Source
from lightning_tl.choosing.study.source_left import source_left
from lightning_tl.choosing.study.source_report import source_sections
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.cli import main

ARMS = ("linear_probe", "fine_tune", "lora", "from_scratch")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_study_says_what_each_strategy_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = make_job(tmp_path)
    few = ["--draws", "1", "--search", "1", "--no_baselines", "--trainer.max_epochs=1"]
    study = ["compare", "--recipe", str(job), "--strategies", *ARMS, *few, "--study", "s"]
    source = ["--source", "images", "--source.num_workers=0"]
    (tmp_path / "letter.txt").touch()
    wrong = error_of([*study, "--source", "letter.txt"], capsys)
    assert wrong.startswith(f"the source {tmp_path}/letter.txt does not serve: a table must be .csv")
    assert not list((tmp_path / "s" / "outcomes").rglob("rate-*.json")), "told before anything long begins"
    main([*study, *source])
    told = capsys.readouterr().out
    assert "[3 of 3] what lora left of the source, all labels a class\n" in told
    text = Path("s/report/report.md").read_text()
    assert "Left every weight of the backbone as it was, and all that it knew: linear_probe." in text
    assert "had nothing to forget: from_scratch." in text and "![What is left of the source](source.png)" in text
    table = pd.read_parquet("s/report/source.parquet").set_index("arm")
    assert list(table.index) == ["fine_tune", "lora"] and table["before"].nunique() == 1
    embeddings = table["alignment/embeddings"]
    assert embeddings["lora"] == pytest.approx(1, abs=1e-9) and embeddings["fine_tune"] < 1 - 1e-6
    (kept,) = Path("s/forgetting").glob("*/lora/all/*/*.json")
    kept.unlink()  # as if it had been stopped before the last
    main([*study, *source])
    told = capsys.readouterr().out
    assert "[1 of 1] what lora left" in told and "fine_tune, all" not in told, "nothing is measured twice"
    main([*study, "--report"])
    assert Path("s/report/report.md").read_text() == text
    found = json.loads(kept.read_text())
    kept.write_text(json.dumps(found | {"source_sha256": "other"}))
    assert "had other samples for" in error_of([*study, "--report"], capsys)


def test_sources_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    for recipe, source, message in (
        (
            "satellite_fine_tune",
            ["--source", "gone"],
            "there is no source gone; give a folder or a table that is there",
        ),
        ("text_lora", ["--source", "folder"], "the source folder is a folder without tables"),
        (
            "text_lora",
            ["--source.label=topic"],
            "--source.label says how a source is read: give --source PLACE as well",
        ),
    ):
        assert message in error_of(["compare", "--recipe", recipe, *source], capsys)
    report = ["compare", "--study", "s", "--recipe", "satellite_fine_tune", "--source", "folder", "--report"]
    assert "the source folder was not measured: leave --report out" in error_of(report, capsys)
    assert not (tmp_path / "studies").exists()


# ---------------------------------------------------------------- what the report says of results


def interval(mean: float, low: float, high: float) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "level": 0.95, "samples": 90, "blocks": 30, "method": "bootstrap"}


def found(change: dict[str, Any], last: float | None) -> dict[str, Any]:
    ends = {"before": interval(0.9, 0.8, 1.0), "after": interval(0.9 + change["mean"], 0.5, 1.0), "change": change}
    about = {"source_sha256": "a", "unchanged": False, "measure": "accuracy", "samples": 90, "folds": 5}
    return about | ends | {"alignment": {"embeddings": None, "features": last}}


def test_the_section_tells_forgotten_from_failed(tmp_path: Path) -> None:
    names = ("fine_tune", "lora", "adapters", "linear_probe", "from_scratch")
    plan = StudyPlan("r", [Arm(name, {}, {}, name != "from_scratch") for name in names], [10, None], draws=1)
    folder, source = StudyFolder(tmp_path), Source("photos", ("--data.label=kind",))
    rates = {(arm, size): 1e-3 for arm in names for size in plan.labels}
    told = {
        "fine_tune/10": found(interval(-0.3, -0.4, -0.2), 0.4),
        "fine_tune/all": found(interval(0.1, 0.02, 0.2), 0.5),
        "lora/10": found(interval(-0.01, -0.1, 0.08), 0.9),
        "adapters/10": {"error": "memory is short"},
        "linear_probe/10": {"source_sha256": "a", "unchanged": True},
    }
    for name, one in told.items():
        path = source.kept(folder, f"{name}/draw-0/rate-0.001")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(one))
    first, layers = source_sections(plan, source, source_left(plan, folder, rates, source), tmp_path)
    assert [row[0:2] + row[-1:] for row in first.rows] == [
        ["10", "fine_tune", "forgot"],
        ["10", "lora", "no change shown"],
        ["10", "adapters", "failed: memory is short"],
        ["all", "fine_tune", "became better"],
    ]
    assert "features of 90 samples of photos in 30 blocks" in first.sentences[0]
    assert first.sentences[1:] == [
        "Left every weight of the backbone as it was, and all that it knew: linear_probe.",
        "Began without pretrained weights and had nothing to forget: from_scratch.",
    ]
    assert layers.head == ["layer", "fine_tune"] and layers.rows == [["embeddings", ""], ["features", "0.500"]]
    assert (tmp_path / "source.png").is_file()
    other = Source("photos", ("--data.label=place",))
    assert source_left(plan, folder, rates, other) == [], "samples that are read otherwise are another source"
