"""`compare --ray`: a study on a Ray cluster; the tests with one run where the extra `ray` is installed."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_runs import error_of, make_job
from ray_here import own_cluster, with_ray

from lightning_tl.cli import main

FEW = ["--strategies", "linear_probe", "fine_tune", "--draws", "1", "--search", "1", "--trainer.max_epochs=1"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of this machine alone."""
    with own_cluster() as ray:
        yield ray


def without_costs(study: Path) -> str:
    text = (study / "report" / "report.md").read_text()
    before, _, after = text.partition("## Costs")
    return before + after.partition("## Paired differences")[2]


@with_ray
def test_a_cluster_gives_the_same_report(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = ["compare", "--recipe", str(make_job(tmp_path)), *FEW, "--no_baselines", "--study"]
    main([*study, "here"])
    main([*study, "there", "--ray", "auto"])
    assert "[1 of 2] test of" in capsys.readouterr().out
    assert without_costs(tmp_path / "there") == without_costs(tmp_path / "here")
    frames = [pd.read_parquet(tmp_path / name / "report" / "scores.parquet") for name in ("here", "there")]
    kept = ["arm", "labels", "rate", "low", "high", "trainable", "checkpoint_bytes"]
    pd.testing.assert_frame_equal(frames[0][kept], frames[1][kept])


@with_ray
def test_jobs_that_fail_are_told_and_others_go_on(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_tl.choosing.study.processes import Job
    from lightning_tl.choosing.study.ray_tasks import RayTasks

    monkeypatch.chdir(tmp_path)
    (tmp_path / "seen").touch()
    words = ["fit", "--recipe", "nosuch"], ["--version"]
    jobs = [Job(arguments, tmp_path / f"{k}.txt") for k, arguments in enumerate(words)]
    tasks = RayTasks(main, "auto", True, tmp_path / "seen")
    found = dict(tasks.run(jobs))
    assert found[1] is None and str(found[0]).startswith("there is no recipe 'nosuch'")
    assert "lightning-tl" in (tmp_path / "1.txt").read_text()
    unseen = RayTasks(main, "auto", True, tmp_path / "elsewhere")
    (told,) = dict(unseen.run(jobs[:1])).values()
    assert told is not None and "must be on a file system that all nodes see" in told


@with_ray
def test_a_task_after_one_that_died_goes_on(tmp_path: Path) -> None:
    from lightning_tl.choosing.study.ray_tasks import _after_a_loss

    run = tmp_path / "run"
    command = ["fit", "--recipe", "r.yaml", "--run_folder", str(run), "--test=false"]
    assert _after_a_loss(command) == command
    (run / "checkpoints").mkdir(parents=True)
    assert _after_a_loss(command) == command and not run.exists(), "nothing to go on from"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    assert _after_a_loss(command) == ["fit", "--resume", str(run), "--test=false"]


@with_ray
def test_no_cluster_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from lightning_tl.choosing.study.ray_tasks import RayTasks

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # that of the other tests is another's
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for wrong in (address, "nowhere", f"ray://{address}"):
        with pytest.raises(ValueError, match=f"no Ray cluster answers at {wrong} "):
            RayTasks(main, wrong, True, tmp_path)


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))
    message = error_of(["compare", "--recipe", "satellite_fine_tune", "--ray", "auto"], capsys)
    assert message == '--ray needs Ray: python -m pip install "lightning-tl[ray]"'
