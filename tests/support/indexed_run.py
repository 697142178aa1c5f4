"""A finished run of two towers on disk, with an index of its items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_retrieval import write_log

from lightning_tl.cli import main

RECIPE = """\
# A recipe of the user's own.
model:
  class_path: lightning_tl.retrieval.TwoTower
  init_args:
    items:
      class_path: lightning_tl.retrieval.ItemTower
      init_args:
        dim: 16
        encoder:
          class_path: lightning_tl.backbones.HuggingFaceText
          init_args:
            pretrained: {model}
data:
  class_path: datamodules.InteractionDataModule
  init_args:
    events: {log}/events.parquet
    items: {log}/items.parquet
    users: {log}/users.parquet
    completion: completion
    history_length: 6
    batch_size: 8
    num_workers: 0
    cache: {log}/cache
checkpoint:
  monitor: val_mrr
  mode: max
trainer:
  max_epochs: 1
  accelerator: cpu
  devices: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


def indexed_run(folder: Path, saved_models: Path) -> Path:
    """Train for an epoch on a small log, whose items have prices; the run's folder."""
    write_log(folder / "log")
    items = pd.read_parquet(folder / "log" / "items.parquet")
    items["price"] = np.arange(len(items)) + 0.5
    items.to_parquet(folder / "log" / "items.parquet")
    recipe = folder / "mine.yaml"
    recipe.write_text(RECIPE.format(model=saved_models / "minilm", log=folder / "log"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LIGHTNING_TL_PICTURES", raising=False)
        main(["--recipe", str(recipe), f"--run_folder={folder / 'run'}"])
    return folder / "run"
