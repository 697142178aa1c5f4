"""What the framework costs: steps per second of `FineTune` under a Trainer over those of a bare PyTorch loop.

    python scripts/benchmarks/overhead.py

Both train the same ViT (the shipped one, width 192 and depth 6, at 32 pixels: 65 tokens) on the same batches in
memory, with the same AdamW parameter groups and schedule, on the CPU. The Trainer has what the command line gives it:
checkpoints, clean interrupts, CSV metrics; the bare loop logs nothing. Steps alternate, one of each, so that other
load on the machine meets both; all that Lightning does between two steps counts as its own. Each ratio is over a
window of ten steps, of which one writes metrics.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader

from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.callbacks import GracefulInterrupt, ResumableCheckpoint, SafeCheckpointIO
from lightning_tl.contracts.batches import ClassificationBatch
from lightning_tl.reports import CsvMetrics
from lightning_tl.strategies import FineTune
from lightning_tl.training.parameter_groups import parameter_groups
from lightning_tl.training.schedules import CosineWithWarmup

CLASSES, IMAGE_SIZE, WINDOW = 6, 32, 10


class BareLoop:
    """The same training as a dozen lines of PyTorch; `step` takes one optimizer step."""

    def __init__(self, module: FineTune, steps: int) -> None:
        module.configure_model()
        assert module.head is not None
        self.model = nn.Sequential(module.backbone, module.head).train()
        trained = [name for name, _ in module.named_parameters()]
        groups = parameter_groups(module, module.layer_groups(), module.group_rates(), trained, module.weight_decay)
        self.optimizer = AdamW(groups)
        self.scheduler = CosineWithWarmup().build(self.optimizer, steps)
        self.loss = nn.CrossEntropyLoss()

    def step(self, batch: ClassificationBatch) -> None:
        self.optimizer.zero_grad()
        self.loss(self.model(batch["inputs"]), batch["target"]).backward()
        self.optimizer.step()
        self.scheduler.step()


class Alternation(Callback):
    """Takes a bare step before each of the Trainer's; keeps wall and CPU seconds of both.

    Args:
        bare: the other loop.
    """

    def __init__(self, bare: BareLoop) -> None:
        self.bare = bare
        self.before: list[tuple[float, float]] = []  # a bare step begins, and the Trainer's step before it has ended
        self.after: list[tuple[float, float]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.before.append((time.perf_counter(), time.process_time()))
        self.bare.step(batch)
        self.after.append((time.perf_counter(), time.process_time()))

    def seconds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(bare, Trainer): [windows, 2] wall and CPU seconds, the first window left out as warm-up."""
        before, after = np.array(self.before), np.array(self.after)
        bare, ours = (after - before)[:-1], before[1:] - after[:-1]  # [steps - 1, 2]
        count = len(ours) // WINDOW
        both = np.stack([bare, ours])[:, : count * WINDOW].reshape(2, count, WINDOW, 2).sum(2)[:, 1:]
        return both[0], both[1]


def random_batches(batch_size: int) -> list[ClassificationBatch]:
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, 3, IMAGE_SIZE, IMAGE_SIZE)
    return [
        {
            "inputs": torch.randn(shape, generator=generator),
            "target": torch.randint(CLASSES, (batch_size,), generator=generator),
            "index": torch.arange(batch_size),
        }
        for _ in range(WINDOW)
    ]


def measure(windows: int, batch_size: int, folder: str) -> Alternation:
    steps = (windows + 1) * WINDOW + 1
    bare = BareLoop(FineTune(HuggingFaceVision(image_size=IMAGE_SIZE), num_classes=CLASSES), steps)
    module = FineTune(HuggingFaceVision(image_size=IMAGE_SIZE), num_classes=CLASSES)
    batches = random_batches(batch_size)
    alternation = Alternation(bare)
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        log_every_n_steps=WINDOW,
        callbacks=[alternation, ResumableCheckpoint(), GracefulInterrupt()],
        logger=CsvMetrics(folder),
        plugins=[SafeCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader[Any] = DataLoader([batches[k % WINDOW] for k in range(steps)], batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader)
    return alternation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=12, help="of ten steps of each loop")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--threads", type=int, help="CPU threads for torch")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        bare, ours = measure(given.windows, given.batch_size, folder).seconds()
    print(f"{len(bare)} windows of {WINDOW} steps, batches of {given.batch_size}, {torch.get_num_threads()} threads")
    for column, clock in enumerate(("wall time", "CPU time")):
        ratio = bare[:, column] / ours[:, column]
        low, high = np.quantile(ratio, [0.25, 0.75])
        per_step = [1000 * np.median(seconds[:, column]) / WINDOW for seconds in (bare, ours)]
        print(
            f"{clock}: bare loop {per_step[0]:.1f} ms a step, Trainer {per_step[1]:.1f} ms; steps per second, "
            f"Trainer over bare loop: median {np.median(ratio):.3f} (quartiles {low:.3f} to {high:.3f}; aim 0.97)"
        )


if __name__ == "__main__":
    main()
