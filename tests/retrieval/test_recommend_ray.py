"""`recommend --users --ray`: the rows of one process, made by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_runs import error_of
from indexed_run import indexed_run
from ray_here import own_cluster, with_ray

from lightning_tl.cli import main


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of this machine alone."""
    with own_cluster() as ray:
        yield ray


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> Path:
    return indexed_run(tmp_path_factory.mktemp("on_ray"), saved_models)


def recommend(run: Path, output: str, *more: str) -> list[str]:
    users = [f"u{k}" for k in range(40, 0, -1)] + ["stranger", "u40"]
    pd.DataFrame({"user": users}).to_csv("users.csv", index=False)
    words = [f"--run={run}", "--users=users.csv", f"--output={output}", "--k=5", "--save_every=10"]
    return ["recommend", *words, *more]


@with_ray
def test_workers_write_the_rows_of_one_process_and_go_on(
    cluster: Any,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # so that relative names must hold on the workers
    main(recommend(finished, "here.parquet"))
    main(recommend(finished, "there.parquet", "--ray", "auto"))
    out = capsys.readouterr().out
    assert "on 2 processors of the Ray cluster auto" in out and "there.parquet: 210 rows for 42 users" in out
    here, there = (pd.read_parquet(f"{name}.parquet") for name in ("here", "there"))
    pd.testing.assert_frame_equal(there, here, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.parquet", "there.parquet", "users.csv"]
    assert "is there already" in error_of(recommend(finished, "there.parquet", "--ray", "auto"), capsys)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--user=u1", "--ray=auto"], "--ray is for --users FILE with --output FILE.parquet"),
        (["--user=u1", "--save_every=5"], "--save_every is for --users FILE with --output FILE.parquet"),
        (["--users=u.csv", "--output=a.parquet", "--save_every=0"], "save_every must be at least 1, got 0"),
    ],
)
def test_what_is_refused(more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in error_of(["recommend", f"--run={tmp_path}", *more], capsys)
