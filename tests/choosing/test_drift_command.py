"""`lightning-tl distance --times`: a run's accuracy by the time of its test's samples, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import error_of

from lightning_tl.cli import main
from lightning_tl.reports.predictions import Predictions


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a tested run leaves it, whose accuracy falls from 0.9 to 0.5, and tables of times."""
    monkeypatch.chdir(tmp_path)
    generator, names = np.random.default_rng(0), [f"tile {k}" for k in range(600)]
    target = generator.integers(0, 2, 600)
    right = generator.random(600) < np.linspace(0.9, 0.5, 600)
    said = np.where(right, target, 1 - target)
    predictions = Predictions(np.arange(600), np.eye(2, dtype=np.float32)[said], target)
    predictions.write(tmp_path / "run" / "predictions" / "test.parquet", names, ["field", "lake"])
    (tmp_path / "run" / "config.yaml").write_text("{}")
    days = pd.date_range("2024-01-01", periods=600, freq="D")
    frame = pd.DataFrame(
        {"name": names, "day": days.strftime("%Y-%m-%d"), "seconds": days.as_unit("s").astype("int64")}
    )
    frame.assign(other="x", some=[None, *["2024-01-01"] * 599], word="soon").to_csv("times.csv", index=False)
    return tmp_path / "run"


def test_a_fall_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["distance", f"--run={run}", "--times=times.csv", "--time=day", "--id=name", "--output=found.json"])
    shown = capsys.readouterr().out
    assert "The accuracy falls with time: -0." in shown and "2024-01-01 00:00 to 2024-02-29" in shown
    assert "concept drift: accuracy of 600 of 600 samples" in shown
    found = json.loads(Path("found.json").read_text())
    assert found["kind"] == "concept drift" and len(found["windows"]) == 10
    assert found["low"] <= -0.4 <= found["high"] < 0
    main(["distance", f"--run={run}", "--times=times.csv", "--time=seconds", "--id=name", "--windows=10"])
    by_seconds = capsys.readouterr().out
    assert shown.splitlines()[-2] in by_seconds


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--time=day"], "accuracy in time needs"),
        (["--times=times.csv", "--time=day", "--source=a"], "--source does not go with --times"),
        (["--times=times.csv", "--time=day", "--data.root=a"], "--data.root=a does not go with --times"),
        (["--times=none.csv", "--time=day"], "there is no table none.csv"),
        (["--times=times.csv", "--time=hour"], "hour"),
        (["--times=times.csv", "--time=day"], "is named in times.csv, such as row-1: name the column"),
        (["--times=times.csv", "--time=day", "--id=other"], "names 599 rows twice"),
        (["--times=times.csv", "--time=some", "--id=name"], "row 1"),
        (["--times=times.csv", "--time=word", "--id=name"], "must hold dates"),
        (["--times=times.csv", "--time=day", "--id=name", "--windows=2"], "windows must be at least 4, got 2"),
    ],
)
def test_what_is_refused(run: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in error_of(["distance", f"--run={run}", *words], capsys)


def test_a_run_that_was_not_tested(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "predictions" / "test.parquet").unlink()
    told = error_of(["distance", f"--run={run}", "--times=times.csv", "--time=day"], capsys)
    assert "has no predictions/test.parquet" in told


@pytest.fixture
def log_run(tmp_path: Path) -> Path:
    """A folder as a tested two-tower run leaves it: it serves worse with time, popularity as well as ever."""
    generator, count = np.random.default_rng(0), 2_000
    served = generator.random(count) < np.linspace(0.9, 0.4, count)
    table = {
        "user": [f"u{k}" for k in generator.integers(0, 150, count)],
        "item": [f"i{k}" for k in generator.integers(0, 500, count)],
        "time": 1_700_000_000 + 3_600 * np.arange(count),
        "history": np.full(count, 3),
        "rank_two_tower": np.where(served, 1, 400),
        "rank_popularity": np.where(generator.random(count) < 0.5, 1, 400),
    }
    (tmp_path / "log" / "predictions").mkdir(parents=True)
    (tmp_path / "log" / "config.yaml").write_text("{}")
    pd.DataFrame(table).to_parquet(tmp_path / "log" / "predictions" / "test.parquet", index=False)
    return tmp_path / "log"


def test_a_log_has_its_own_times_and_baselines_beside_it(log_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = log_run.parent / "found.json"
    main(["distance", f"--run={log_run}", "--times=log", f"--output={output}"])
    shown = capsys.readouterr().out
    assert "The HR@10 of two_tower falls with time: -0." in shown
    assert "On the same queries, whose windows may be harder or easier for all:" in shown
    found = json.loads(output.read_text())["models"]
    assert found["two_tower"]["high"] < -0.3 and found["popularity"]["low"] < 0 < found["popularity"]["high"]
    # A user's queries hang together, which makes a window's interval another one than that of independent ones.
    assert 0 < found["two_tower"]["windows"][0]["score"]["blocks"] <= 150


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--times=log", "--time=day"], "takes the times of the run's own test"),
        (["--times=log", "--id=name"], "takes the times of the run's own test"),
        (["--times=log"], "has no queries of an event log: name a table"),
    ],
)
def test_a_log_that_is_none(run: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in error_of(["distance", f"--run={run}", *words], capsys)
