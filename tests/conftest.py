"""Every test runs offline and leaves cores to others."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start
os.environ.pop("LIGHTNING_TL_RUN_FOLDER", None)

import lightning.pytorch  # noqa: F401  # its log handler takes the stream of this moment, not of one test
import torch

torch.set_num_threads(1)
