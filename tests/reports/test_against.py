"""A run beside another one: which is ahead on the same test samples, and whether transfer helped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import error_of, make_job

from lightning_tl.cli import main
from lightning_tl.metrics.block_bootstrap import bootstrap_difference
from lightning_tl.reports.against import against, against_lines, right_samples


def run(folder: Path, right: list[bool], strategy: str = "FineTune", first: int = 0, lists: bool = False) -> Path:
    """A run of which only predictions and description are there; its rows stand in an order of their own."""
    (folder / "predictions").mkdir(parents=True)
    label: list[object] = ["a"] * len(right)
    said: list[object] = ["a" if one else "b" for one in right]
    if lists:
        label, said = [["a", "b"]] * len(right), [["b", "a"] if one else ["a"] for one in right]
    rows = {"id": [f"s{k + first:04d}" for k in range(len(right))], "block": [k // 4 for k in range(len(right))]}
    table = pd.DataFrame({**rows, "label": label, "predicted": said})
    table.sample(frac=1, random_state=len(strategy)).to_parquet(folder / "predictions" / "test.parquet")
    (folder / "run.json").write_text(json.dumps({"model": {"class": f"lightning_tl.strategies.{strategy}"}}))
    return folder


GOOD, MIDDLE, POOR = ([k % 10 < most for k in range(400)] for most in (9, 7, 5))


@pytest.mark.parametrize(
    ("mine", "theirs", "strategy", "verdict", "said"),
    [
        (GOOD, POOR, "FromScratch", "ahead", "transfer helps"),
        (POOR, GOOD, "FromScratch", "behind", "transfer hurts: from scratch is ahead"),
        (MIDDLE, MIDDLE, "FromScratch", "undecided", "whether transfer helps is not established"),
        (GOOD, POOR, "LinearProbe", "ahead", "ahead of it"),
        (POOR, GOOD, "LinearProbe", "behind", "behind it"),
    ],
)
def test_verdicts(mine: list[bool], theirs: list[bool], strategy: str, verdict: str, said: str, tmp_path: Path) -> None:
    own, other = run(tmp_path / "own", mine), run(tmp_path / "other", theirs, strategy)
    found = against(own, other, "FineTune")
    assert found["verdict"] == verdict and against_lines(found)[1] == said
    expected = bootstrap_difference(np.array(mine, float), np.array(theirs, float), np.arange(400) // 4)
    assert (found["difference"], found["low"], found["high"]) == (expected.mean, expected.low, expected.high)


def test_two_runs_from_scratch_say_nothing_of_transfer(tmp_path: Path) -> None:
    own, other = run(tmp_path / "own", GOOD, "FromScratch"), run(tmp_path / "other", POOR, "FromScratch")
    assert against_lines(against(own, other, "FromScratch"))[1] == "ahead of it"


def test_of_several_labels_all_must_be_right(tmp_path: Path) -> None:
    table = right_samples(run(tmp_path, [True, False, True], lists=True) / "predictions" / "test.parquet")
    assert table["right"].tolist() == [True, False, True] and table["block"].tolist() == [0, 0, 0]


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    own, other = run(tmp_path / "own", GOOD), run(tmp_path / "other", GOOD, first=100)
    (line,) = against_lines(against(own, other, "FineTune"))
    assert line.endswith("it was tested on other samples: 300 of 400 here and 400 there are the same")
    (line,) = against_lines(against(own, tmp_path / "gone", "FineTune"))
    assert line.endswith("it has no predictions/test.parquet")
    pd.DataFrame({"id": ["a"], "label": [1.0], "predicted": [2.0]}).to_parquet(tmp_path / "values.parquet")
    with pytest.raises(ValueError, match="has no predicted classes"):
        right_samples(tmp_path / "values.parquet")


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(tmp_path)
    monkeypatch.chdir(tmp_path)
    few = ["--recipe", str(job), "--trainer.max_epochs=1", "--unfreezing=null"]
    assert "--against needs the folder of a run that was tested; nowhere has no test" in error_of(
        [*few, "--against", "nowhere"], capsys
    )
    assert "--against compares tests, and predict makes none" in error_of(
        ["predict", "--run", "x", "--against", "y"], capsys
    )
    main([*few, "--run_folder=scratch", "--model=lightning_tl.strategies.FromScratch"])
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    main([*few, "--run_folder=tuned", "--against", "scratch"])
    summary = json.loads(Path("tuned/summary.json").read_text())["test"]["against"]
    assert summary["transfer"] and summary["samples"] == 5 and summary["run"] == str(tmp_path / "scratch")
    assert "against" in Path("tuned/summary.txt").read_text()
