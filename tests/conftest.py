"""Every test runs offline and leaves cores to others."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start
os.environ.pop("LIGHTNING_TL_RUN_FOLDER", None)

import lightning.pytorch  # noqa: F401  # its log handler takes the stream of this moment, not of one test
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny text encoders of all families, by name, and a tiny `vit`. Leave it as it is."""
    from tiny import tiny_vit
    from tiny_text import TINY_TEXT, save_text_model

    root = tmp_path_factory.mktemp("models")
    for family in TINY_TEXT:
        save_text_model(family, root)
    tiny_vit(root)
    return root
