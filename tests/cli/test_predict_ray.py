"""`predict --output --ray`: the rows of one process, made by the workers of a cluster; what workers may not do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_runs import error_of, make_job
from ray_here import own_cluster, with_ray

from lightning_tl.cli import main
from lightning_tl.cli.process.parts_job import PartsJob
from lightning_tl.cli.process.parts_on_ray import PartsOnRay
from lightning_tl.embedding import Ranks
from lightning_tl.storage.parts_on_disk import PartsOnDisk

QUICK = ["--trainer.max_epochs=1", "--report.export=false", "--unfreezing=null"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of this machine alone."""
    with own_cluster() as ray:
        yield ray


@with_ray
def test_workers_write_the_rows_of_one_process_behind_those_that_are_there(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["--recipe", str(make_job(tmp_path)), *QUICK, "--run_folder=run"])
    words = ["predict", "--run=run", "--data.predict_root=images", "--save_every=7"]
    main([*words, "--output=here.parquet"])

    class EnoughError(Exception):
        pass

    def cut(parts: PartsOnDisk) -> int:
        raise EnoughError

    with monkeypatch.context() as patch:
        patch.setattr(PartsOnDisk, "finish", cut)
        with pytest.raises(EnoughError):
            main([*words, "--output=there.parquet", "--ray=auto"])
    parts = tmp_path / "there.parquet.parts"
    for gone in ("part-000002.parquet", "part-000008.parquet"):
        (parts / gone).unlink()
    capsys.readouterr()
    main([*words, "--output=there.parquet", "--ray=auto"])
    out = capsys.readouterr().out
    assert "going on: 7 of 9 parts were done before" in out and "on 2 processors" in out
    here, there = (pd.read_parquet(f"{name}.parquet") for name in ("here", "there"))
    assert list(here["id"]) == list(there["id"]) and list(here["label"]) == list(there["label"])
    np.testing.assert_allclose(*(np.stack(table["probabilities"]) for table in (here, there)), atol=1e-6)
    assert not parts.exists()


def _job(folder: Path, what: str = "write", of: str = "one") -> PartsJob:
    """A job of four parts, whose second goes wrong in one of the ways."""
    parts = PartsOnDisk(folder / "rows.parquet", {"of": of}, 4)

    def table(part: int) -> pd.DataFrame:
        if part == 1 and what == "mistake":
            raise FileNotFoundError("there is no picture p.png")
        if part == 1 and what == "defect":
            raise ZeroDivisionError("never")
        if part == 1 and (what == "die" or (what == "die once" and not (folder / "died").exists())):
            (folder / "died").touch()
            os._exit(1)
        return pd.DataFrame({"part": [part]})

    def make(left: list[int], shown: bool) -> None:
        for part in left:
            parts.write(part, lambda part=part: table(part))  # type: ignore[misc]

    return PartsJob(parts, make)


def shared(folder: Path, opener: partial[PartsJob]) -> int | None:
    with PartsOnRay("auto", opener) as workers:
        return _job(folder).share(Ranks(), False, workers.make)


@with_ray
@pytest.mark.parametrize(
    ("what", "of", "error", "said"),
    [
        ("mistake", "one", ValueError, "there is no picture p.png"),
        ("defect", "one", RuntimeError, "ZeroDivisionError: never"),
        ("die", "one", ValueError, "Ray did not finish the job .*the same command goes on behind them"),
        ("write", "other", ValueError, "reads other data, weights or settings than the machine"),
    ],
)
def test_what_fails_on_a_node_is_told_and_the_job_goes_on_later(
    what: str, of: str, error: type[Exception], said: str, cluster: Any, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        shared(tmp_path, partial(_job, tmp_path, what, of))
    assert not (tmp_path / "rows.parquet").exists()
    assert _job(tmp_path).share(Ranks(), False, None) == 4  # and not on Ray: the parts are the same
    assert list(pd.read_parquet(tmp_path / "rows.parquet")["part"]) == [0, 1, 2, 3]


@with_ray
def test_a_worker_that_dies_is_replaced(cluster: Any, tmp_path: Path) -> None:
    assert shared(tmp_path, partial(_job, tmp_path, "die once")) == 4
    assert list(pd.read_parquet(tmp_path / "rows.parquet")["part"]) == [0, 1, 2, 3]


def test_an_address_of_rays_client_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got --ray ray://head:10001: start the command on a machine of the cluster"):
        PartsOnRay("ray://head:10001", partial(_job, tmp_path))


@pytest.mark.parametrize("output", [[], ["--output=a.parquet"]])
def test_without_ray_or_output(
    output: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    monkeypatch.chdir(tmp_path)
    main(["--recipe", str(make_job(tmp_path)), *QUICK, "--run_folder=run"])
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))
    message = error_of(["predict", "--run=run", "--ray=auto", *output], capsys)
    assert message == (
        '--ray needs Ray: python -m pip install "lightning-tl[ray]"'
        if output
        else "predict --ray writes to --output FILE.parquet: name it"
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    if output:
        assert "--ray and torchrun both share the work" in error_of(
            ["predict", "--run=run", "--ray=auto", *output], capsys
        )
