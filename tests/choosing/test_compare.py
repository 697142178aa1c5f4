"""`lightning-tl compare`: what a study runs, keeps, reports and refuses."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cli_runs import ROOT, error_of, make_job
from warm_python import warm_executable

from lightning_tl.choosing.study import StudyPlan
from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.plan import Cell
from lightning_tl.choosing.study.report import write_report
from lightning_tl.choosing.study.scores import differences, scores, transfer
from lightning_tl.choosing.study.study_folder import Outcome, StudyFolder
from lightning_tl.cli import main

FEW = ["--strategies", "linear_probe", "fine_tune", "--draws", "1", "--search", "1", "--trainer.max_epochs=1",
       "--no_baselines"]  # fmt: skip


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def start_study(job: Path, study: Path, *more: str) -> subprocess.Popen[str]:
    command = [warm_executable(), str(ROOT / "scripts" / "fit.py"), "compare", "--recipe", str(job), *FEW]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, "--study", str(study), *more], cwd=study.parent, stdout=pipe, stderr=pipe, text=True
    )


def without_costs(study: Path) -> str:
    """The report, without what a clock or a memory decides."""
    text = (study / "report" / "report.md").read_text()
    before, _, after = text.partition("## Costs")
    return before + after.partition("## Paired differences")[2]


def test_a_study_killed_at_random_ends_as_one_that_was_not(job: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    through = start_study(job, tmp_path / "through")
    told, errors = through.communicate(timeout=400)
    assert through.returncode == 0, errors
    whole_s = time.monotonic() - began
    assert "No negative transfer" not in told, "no arm starts from nothing here"
    again = start_study(job, tmp_path / "through")
    repeated, _ = again.communicate(timeout=400)
    assert again.returncode == 0 and "[1 of" not in repeated, "nothing is run twice"
    chance = random.Random(3)
    for _ in range(2):
        killed = start_study(job, tmp_path / "stopped")
        time.sleep(whole_s * chance.uniform(0.2, 0.7))
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=60)
    last = start_study(job, tmp_path / "stopped")
    _, errors = last.communicate(timeout=400)
    assert last.returncode == 0, errors
    assert without_costs(tmp_path / "stopped") == without_costs(tmp_path / "through")
    frames = [pd.read_parquet(tmp_path / name / "report" / "scores.parquet") for name in ("stopped", "through")]
    kept = ["arm", "labels", "rate", "accuracy", "low", "high", "trainable", "checkpoint_bytes"]
    pd.testing.assert_frame_equal(frames[0][kept], frames[1][kept])
    page = (tmp_path / "through" / "report" / "index.html").read_text()
    assert "http" not in page.replace("data:image/png", "") and page.count("<img") == 4
    run = tmp_path / "through" / "runs" / "linear_probe" / "all" / "draw-0"
    assert (run / "run.json").is_file() and (run / "model").is_dir(), "an ordinary run folder"


def test_mistakes_before_anything_runs(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases: list[tuple[list[str], str]] = [
        ([], "compare needs --recipe NAME|PATH"),
        (["--recipe", "satelite_vit"], "there is no recipe 'satelite_vit'"),
        (
            ["--recipe", "pretrain_satellite_mae"],
            "compare is for models that are tested; the recipe pretrain_satellite_mae pretrains",
        ),
        (
            ["--recipe", str(job), "--strategies", "fine_tun", "lora"],
            "there is no strategy 'fine_tun' (nearest:",
        ),
        (
            ["--recipe", str(job), "--strategies", "lora", "--no_baselines"],
            "a comparison needs at least 2 strategies",
        ),
        (
            ["--recipe", str(job), "--labels_per_class", "ten"],
            "labels_per_class must be numbers of at least 1",
        ),
        (["--recipe", str(job), "--draws", "0"], "draws must be at least 1, got 0"),
        (["--recipe", str(job), "--budget", "long"], "budget must be recipe, or a positive length"),
        (["--recipe", str(job), "--data.labels_per_class=3"], "--data.labels_per_class is set by the study itself"),
        (["--recipe", str(job), "fine_tune"], "compare does not know fine_tune; fields of the recipe are written"),
        (["--recipe", str(job), "--report"], "no run of the study"),
    ]
    for arguments, message in cases:
        assert message in error_of(["compare", *arguments], capsys)
    assert not (tmp_path / "studies" / "mine" / "runs").exists()


def test_help_names_the_strategies(capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "--help"])
    assert "linear_probe, lora, progressive" in " ".join(capsys.readouterr().out.split())


def test_a_strategy_that_does_not_fit_is_named(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unfit = ["--recipe", str(job), "--strategies", "zero_shot", "linear_probe", "--draws", "1", "--study", "s"]
    message = error_of(["compare", *unfit], capsys)
    assert message.startswith("zero_shot does not fit: ZeroShot needs a backbone that embeds texts")
    assert message.endswith("leave it out of --strategies, or add --skip_unfit")
    main(["compare", *unfit, "--skip_unfit"])
    told = capsys.readouterr().out
    assert "zero_shot is left out: ZeroShot needs" in told and "report: s/report/index.html" in told
    assert "ZeroShot needs a backbone" in Path("s/report/report.md").read_text()


# ---------------------------------------------------------------- what is concluded from runs


def study_of(folder: Path, right: dict[tuple[str, int | None], Callable[[int, int], bool]]) -> tuple[StudyPlan, Chosen]:
    """A study of which only predictions and outcomes are there: 2 draws, 300 samples in 100 blocks."""
    from lightning_tl.choosing.study import Arm

    names = list(dict.fromkeys(name for name, _ in right))
    sizes = list(dict.fromkeys(size for _, size in right))
    arms = [Arm(name, {}, {}, name != "from_scratch") for name in names]
    plan, chosen, study = StudyPlan("r", arms, sizes, draws=2), Chosen(), StudyFolder(folder)
    for (name, size), rule in right.items():
        chosen.rates[name, size] = None
        for draw in range(2):
            cell = Cell(name, size, draw, None)
            (study.run(cell) / "predictions").mkdir(parents=True)
            rows = [("a" if k % 2 else "b") for k in range(300)]
            said = [row if rule(k, draw) else "c" for k, row in enumerate(rows)]
            table = {"id": [f"s{k}" for k in range(300)], "block": [k // 3 for k in range(300)], "label": rows}
            pd.DataFrame({**table, "predicted": said}).sample(frac=1, random_state=draw).to_parquet(
                study.run(cell) / "predictions" / "test.parquet"
            )
            (study.run(cell) / "summary.json").write_text('{"test": {}}')
            path = folder / "outcomes" / f"{cell.key}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            outcome = Outcome(trainable=10 if name == "probe" else 1000, seconds=1.0, best=0.5)
            path.write_text(json.dumps({**vars(outcome), "curve": [[1, 0.5]]}))
    return plan, chosen


def test_transfer_that_hurts_helps_and_is_open(tmp_path: Path) -> None:
    plan, chosen = study_of(
        tmp_path,
        {
            ("probe", 10): lambda k, draw: k % 10 < 8,
            ("from_scratch", 10): lambda k, draw: k % 10 < 5,
            ("probe", None): lambda k, draw: k % 10 < 7,
            ("from_scratch", None): lambda k, draw: k % 10 < 9,
            ("probe", 50): lambda k, draw: (7 * k + draw) % 20 < 16,
            ("from_scratch", 50): lambda k, draw: (11 * k + 3 + draw) % 20 < 16,
        },
    )
    study = StudyFolder(tmp_path)
    found = {(score.arm, score.labels): score for score in scores(plan, study, chosen)}
    assert found["probe", 10].quality.mean == pytest.approx(0.8) and found["probe", 10].quality.blocks == 100
    assert found["probe", 10].on_front and not found["from_scratch", 10].on_front
    gaps = differences(plan, study, chosen)
    assert {gap.labels: gap.verdict for gap in transfer(plan, gaps)} == {10: "ahead", 50: "undecided", None: "behind"}
    assert all(gap.corrected.low <= gap.interval.low <= gap.interval.high <= gap.corrected.high for gap in gaps)
    by_size = {gap.labels: gap for gap in gaps}
    assert by_size[10].interval.mean == pytest.approx(0.3) and by_size[None].would_settle is None
    page, sentences = write_report(plan, study, chosen)
    text = (page.parent / "report.md").read_text()
    assert "Negative transfer: probe is behind from_scratch with all labels a class." in text
    assert "| probe | from_scratch | 10: helps, 50: undecided, all: hurts |" in text
    assert "With 10 labels a class probe scores highest, 0.800. It is ahead of from_scratch." in " ".join(sentences)
    first = page.read_bytes()
    write_report(plan, study, chosen)
    assert page.read_bytes() == first, "the same runs give the same report, to the byte"


def test_what_is_kept_of_a_study_has_the_same_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, chosen = study_of(
        tmp_path / "whole",
        {
            ("probe", 10): lambda k, draw: k % 10 < 8,
            ("from_scratch", 10): lambda k, draw: k % 10 < 5 + draw,
            ("probe", None): lambda k, draw: k % 10 < 7,
            ("from_scratch", None): lambda k, draw: k % 10 < 9,
        },
    )
    page, _ = write_report(plan, StudyFolder(tmp_path / "whole"), chosen)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "study.json").write_text(json.dumps(plan.as_json()))
    for name in ("results.parquet", "samples.parquet"):
        (kept / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    main(["compare", "--report", "--study", str(kept)])
    assert (kept / "report" / "report.md").read_text() == (page.parent / "report.md").read_text()
    table = pd.read_parquet(kept / "results.parquet")
    few = table[~((table["arm"] == "probe") & (table["draw"] == 1))]
    few.to_parquet(kept / "results.parquet")
    main(["compare", "--report", "--study", str(kept)])
    gaps = pd.read_parquet(kept / "report" / "differences.parquet").set_index("labels")
    assert gaps.loc["10", "difference"] == pytest.approx(0.3), "of the draw that both have"
    assert "is no study" in error_of(["compare", "--report", "--study", str(tmp_path / "none")], capsys)


def test_runs_tested_on_other_samples_are_refused(tmp_path: Path) -> None:
    plan, chosen = study_of(
        tmp_path, {("probe", None): lambda k, draw: True, ("from_scratch", None): lambda k, d: True}
    )
    file = StudyFolder(tmp_path).run(Cell("probe", None, 1, None)) / "predictions" / "test.parquet"
    pd.read_parquet(file).iloc[1:].to_parquet(file)
    with pytest.raises(ValueError, match="was tested on other samples than"):
        scores(plan, StudyFolder(tmp_path), chosen)


def test_jobs_end_with_who_started_them(job: Path, tmp_path: Path) -> None:
    study = start_study(job, tmp_path / "s", "--trainer.max_epochs=400")
    deadline = time.monotonic() + 120
    log = tmp_path / "s" / "logs"
    while not list(log.rglob("rate-*.txt")) and time.monotonic() < deadline:
        time.sleep(0.2)
    study.send_signal(signal.SIGINT)
    _, errors = study.communicate(timeout=120)
    assert study.returncode == 130 and "interrupted" in errors, errors
    assert not list((tmp_path / "s" / "outcomes").rglob("rate-*.json")), "an interrupted run is no failed one"
    mine = [name for name in os.listdir("/proc") if name.isdecimal() and _of(name, str(tmp_path / "s"))]
    assert mine == []


def _of(process: str, word: str) -> bool:
    try:
        return word in Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return False
