"""`predict --output`: the rows of `predict`, kept in parts, whoever computes them and whatever interrupts."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from cli_runs import error_of, make_job
from ranks import on_two_ranks
from tiny_run import server

from lightning_tl.cli import main

QUICK = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
QUICK += ["--report.export=false"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images, and 60 to predict in `images`."""
    folder = tmp_path_factory.mktemp("many")
    main(["--recipe", str(make_job(folder)), *QUICK, "--unfreezing=null", f"--run_folder={folder / 'run'}"])
    return folder


def many(folder: Path, output: Path, *more: str) -> list[str]:
    new = f"--data.predict_root={folder / 'images'}"
    return ["predict", "--run", str(folder / "run"), new, f"--output={output}", "--save_every=7", *more]


def test_the_rows_are_those_of_predict_in_the_order_of_the_data(images: Path, tmp_path: Path) -> None:
    main(many(images, tmp_path / "many.parquet"))
    main(["predict", "--run", str(images / "run"), f"--data.predict_root={images / 'images'}"])
    paths = tmp_path / "many.parquet", images / "run" / "predictions" / "predict.parquet"
    one, other = (pd.read_parquet(path) for path in paths)
    assert list(one.columns) == list(other.columns) and len(one) == 60
    assert list(one["id"]) == list(other["id"]) and list(one["label"]) == list(other["label"])
    np.testing.assert_allclose(np.stack(one["probabilities"]), np.stack(other["probabilities"]), atol=1e-6)
    names = (pq.read_schema(path).metadata[b"class_names"] for path in paths)
    assert len(set(names)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["many.parquet"]


@pytest.mark.parametrize("task", ["regression", "several"])
def test_texts_of_many_lengths_come_in_their_order(task: str, saved_models: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(3)
    words = ["the", "soup", "was", "hot", "and", "a", "good", "match", "is", "very", "small"]
    table = pd.DataFrame({"text": [" ".join(noise.choice(words, noise.integers(1, 12))) for _ in range(41)]})
    table["split"], table["score"] = [("train", "validation", "test")[k % 3] for k in range(41)], noise.normal(size=41)
    table["a"], table["b"] = table["score"].gt(0).astype(int), [k % 2 for k in range(41)]
    table.to_csv(tmp_path / "own.csv", index=False)
    table[["text"]].to_csv(tmp_path / "new.csv", index=False)
    backbone = {"class_path": "lightning_tl.backbones.HuggingFaceText"}
    backbone |= {"init_args": {"pretrained": str(saved_models / "minilm")}}  # type: ignore[dict-item]
    data: dict[str, Any] = {"path": str(tmp_path / "own.csv"), "text": "text", "split": "split", "batch_size": 4}
    data |= {"label": "score", "task": "regression"} if task == "regression" else {"label": ["a", "b"]}
    recipe = {
        "model": {"class_path": "lightning_tl.strategies.LinearProbe", "init_args": {"backbone": backbone}},
        "data": {"class_path": "datamodules.TextDataModule", "init_args": data | {"cache": str(tmp_path / "cache")}},
    }
    (tmp_path / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(tmp_path / "mine.yaml"), *QUICK, f"--run_folder={tmp_path / 'run'}"])
    new = ["predict", "--run", str(tmp_path / "run"), f"--data.path={tmp_path / 'new.csv'}"]
    main(new)
    main([*new, f"--output={tmp_path / 'many.parquet'}", "--save_every=10"])
    one, other = (
        pd.read_parquet(path) for path in (tmp_path / "many.parquet", tmp_path / "run/predictions/predict.parquet")
    )
    assert list(one["id"]) == list(other["id"]) and len(one) == 41
    column = "predicted" if task == "regression" else "probabilities"
    np.testing.assert_allclose(*(np.stack(table[column]) for table in (one, other)), atol=1e-5)


def _predict(arguments: list[str], slow: bool = False) -> None:
    torch.set_num_threads(1)
    if slow:
        from lightning_tl.storage.parts_on_disk import PartsOnDisk

        write = PartsOnDisk.write

        def slowly(*given: Any) -> None:
            write(*given)
            time.sleep(0.3)

        PartsOnDisk.write = slowly  # type: ignore[method-assign]
    main(arguments)


def test_a_killed_job_goes_on_and_two_processes_write_the_same_bytes(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main(many(images, tmp_path / "whole.parquet"))
    cut = tmp_path / "cut.parquet"
    process = server().Process(target=_predict, args=(many(images, cut), True))
    process.start()
    parts, deadline = tmp_path / "cut.parquet.parts", time.monotonic() + 60
    while time.monotonic() < deadline and process.is_alive() and len(list(parts.glob("*.parquet"))) < 3:
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL and not cut.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert 3 <= len(kept) < 9
    told = error_of(
        many(images, cut, "--ckpt_path", str(images / "run" / "checkpoints" / "last.ckpt"), "--save_every=8"), capfd
    )
    assert "holds parts of another job" in told
    assert {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")} == kept
    on_two_ranks(_predict, tmp_path, many(images, cut))
    assert cut.read_bytes() == (tmp_path / "whole.parquet").read_bytes() and not parts.exists()
    told = error_of(many(images, cut), capfd)
    assert "is there already: take another name, or add --overwrite" in told
    main(many(images, cut, "--overwrite"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--output=a.csv"], "--output must end in .parquet, got a.csv"),
        (["--save_every=0"], "save_every must be at least 1, got 0"),
        (["--priors=estimated"], "leave --output out, or --priors"),
        (["--trainer.precision=bf16-true"], "the run's precision is bf16-true: add --trainer.precision=32-true"),
    ],
)
def test_what_is_refused(
    more: list[str],
    said: str,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in error_of(many(images, tmp_path / "never.parquet", *more), capsys)
    assert not (tmp_path / "never.parquet").exists()
    assert "predict --output needs --run" in error_of(
        ["predict", "--recipe=satellite_vit", "--output=a.parquet", "--ckpt_path=x"], capsys
    )
