"""Pretraining of several objectives for the same time, as `pretraining_worth.py` compares them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVES = {"SimCLR": "contrastive", "DINO": "dino", "MAE": "mae"}
STEPS_OF_AN_EPOCH = 200
TRIAL, LEFT_OUT = 40, 5  # steps of the run that times one, and how many at its beginning do not count
TILES = 256  # in a step


class StepTimes(pl.Callback):
    """Writes the seconds of processor time of each step to a file of the run's folder."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        """Note the time."""
        self.ends.append(time.process_time())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write."""
        np.save(Path(trainer.default_root_dir) / "steps.npy", np.diff(self.ends))


def fit(recipe: str, steps: int, folder: Path, seed: int) -> NDArray[np.float64]:
    """Train so many steps; the seconds that a core worked for each, but the first."""
    epochs = max(1, round(steps / STEPS_OF_AN_EPOCH))
    tiles = steps // epochs * TILES
    command = [sys.executable, str(ROOT / "scripts" / "fit.py"), "--recipe", f"pretrain_satellite_{recipe}"]
    command += [f"--data.tiles_per_epoch={tiles}", f"--data.batch_size={TILES}", f"--trainer.max_epochs={epochs}"]
    command += [f"--run_folder={folder}", f"--seed_everything={seed}", "--trainer.accelerator=cpu"]
    command += ["--trainer.callbacks+=equal_pretraining.StepTimes"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
    taken: NDArray[np.float64] = np.load(folder / "steps.npy")
    return taken


def pretrain(name: str, minutes: float, folder: Path, seed: int) -> None:
    """Train one objective for so long, and keep its weights and what it took."""
    recipe, target = OBJECTIVES[name], folder / "weights" / OBJECTIVES[name]
    if (target / "model.safetensors").exists():
        return
    trial = fit(recipe, TRIAL, folder / "trial" / recipe, seed)[LEFT_OUT:]
    a_step = float(np.sort(trial)[: max(1, len(trial) // 10)].mean())
    steps = max(1, int(minutes * 60 / a_step))
    print(f"{name}: a step of {TILES} tiles takes {a_step:.2f} s, so {steps:,} steps", flush=True)
    taken = fit(recipe, steps, folder / "runs" / recipe, seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / "runs" / recipe / "model").rename(target)
    kept = {"steps": steps, "seconds_of_a_step": a_step, "median_seconds_of_a_step": float(np.median(taken))}
    (target / "pace.json").write_text(json.dumps(kept))
