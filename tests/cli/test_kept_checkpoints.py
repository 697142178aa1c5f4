"""Which checkpoint of a run is taken: the best by the monitored metric, whatever its name, its place and its time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny import TinyData, tiny_module, tiny_trainer

from lightning_tl.callbacks import ResumableCheckpoint, SafeCheckpointIO
from lightning_tl.cli.commands.embed_options import read_embed_options
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.run_folder import best_checkpoint, can_go_on, last_checkpoint

OPTIONS: dict[str, dict[str, Any]] = {
    "three": {"save_top_k": 3},
    "another name": {"filename": "{epoch}-{val_loss:.2f}"},
    "a folder in the folder": {"filename": "kept/{epoch}"},
    "none": {"monitor": None},
    "elsewhere": {"dirpath": "elsewhere"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs whose last epoch is not their best, by name."""
    root = tmp_path_factory.mktemp("runs")
    for name, options in OPTIONS.items():
        own = {key: str(root / value) if key == "dirpath" else value for key, value in options.items()}
        trainer = tiny_trainer(root / name, [ResumableCheckpoint(**own)], max_epochs=6, plugins=[SafeCheckpointIO()])
        trainer.fit(tiny_module(lr=2.0), datamodule=TinyData())
        (root / name / "config.yaml").write_text(yaml.safe_dump({"checkpoint": own}))
    return root


def steps(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


@pytest.mark.parametrize("name", OPTIONS)
def test_the_best_is_found(name: str, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / name, tmp_path / "moved")  # copies have times of their own
    for run in (runs / name, tmp_path / "moved"):
        for age, file in enumerate(sorted(run.rglob("*.ckpt"))):
            os.utime(file, (age, age))
        assert can_go_on(run) and steps(last_checkpoint(run)) == 42
        best = steps(best_checkpoint(run))
        assert best == (42 if name == "none" else steps(best_checkpoint(runs / "elsewhere")))
        assert (best == 42) == (name == "none"), "the last epoch is not the best here"
    assert read_embed_options(["--run", str(runs / name), "--output=a.npy"]).run.run == runs / name


def test_a_best_checkpoint_that_is_gone_is_told(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "three", tmp_path / "run")
    best_checkpoint(tmp_path / "run").unlink()
    with pytest.raises(UserError, match=r"is not there; --ckpt_path=.*last.ckpt takes the last one"):
        best_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UserError, match="which says which of its 2 checkpoints is the best; name one with --ckpt_path"):
        best_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("filename", ["last", "a/last", "last.ckpt", ""])
def test_the_last_checkpoint_keeps_its_name(filename: str) -> None:
    with pytest.raises(ValueError, match=r"last\.ckpt is the checkpoint to go on from"):
        ResumableCheckpoint(filename=filename)
