"""A small job for the tests of the command line: a tiny ViT on disk, a folder of images, a recipe of the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTModel
from warm_python import warm_executable

from lightning_tl.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPE = """\
# A recipe of the user's own.
model:
  class_path: lightning_tl.strategies.FineTune
  init_args:
    backbone:
      class_path: lightning_tl.backbones.HuggingFaceVision
      init_args:
        pretrained: {folder}/vit
data:
  class_path: datamodules.ImageFolderDataModule
  init_args:
    root: {folder}/images
    batch_size: 8
    num_workers: 0
unfreezing:
  epochs_per_phase: 1
trainer:
  max_epochs: 3
  accelerator: cpu
  devices: 1
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


def make_job(folder: Path) -> Path:
    """Write model, images and recipe; returns the recipe's path."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder / "vit")
    noise = np.random.default_rng(0)
    for number, name in enumerate(("field", "lake", "town")):
        (folder / "images" / name).mkdir(parents=True)
        for k in range(20):
            pixels = noise.integers(0, 120, (8, 8, 3)) + 60 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"{k:02d}.png")
    recipe = folder / "mine.yaml"
    recipe.write_text(RECIPE.format(folder=folder))
    return recipe


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one message that a command line ends with."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1, lines
    return lines[0].removeprefix("error: ")


def start(arguments: list[str], folder: Path, cold: bool = False, **environment: str) -> subprocess.Popen[str]:
    """Start `scripts/fit.py` as a user does, in `folder`.

    Args:
        arguments: of the script.
        folder: where it runs.
        cold: in a Python that has imported nothing yet, where that is what a test is about.
        environment: variables beside those of this process.
    """
    python = sys.executable if cold else warm_executable()
    return start_command([python, str(ROOT / "scripts" / "fit.py"), *arguments], folder, **environment)


def start_command(command: list[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command in `folder`, its output kept as text."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LIGHTNING_TL", "PL_"))}
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
