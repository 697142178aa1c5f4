"""Progress as plain lines, for logs and pipes, where a progress bar would draw nothing."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lightning_tl.reports.resources import duration_text

_SHOWN = 4  # metrics on a line


class ProgressLines(Callback):
    """Prints a line at the end of every epoch, and in long epochs one every now and then.

    Args:
        seconds: least time between two lines within an epoch; epochs that end within a tenth of it of the line before
            are left out, but for the last.
    """

    def __init__(self, seconds: float = 30.0) -> None:
        if seconds < 0:
            raise ValueError(f"seconds must be at least 0, got {seconds}")
        self.seconds = seconds
        self._started = self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = self._last = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Print a line now and then where an epoch is long."""
        if time.monotonic() - self._last >= self.seconds:
            batch, batches = trainer.fit_loop.batch_idx + 1, trainer.num_training_batches
            self._print(trainer, f", batch {batch} of {batches}", "train_")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch's line."""
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if last or time.monotonic() - self._last >= self.seconds / 10:
            self._print(trainer, "", ("train_loss", "val_"))

    def _print(self, trainer: pl.Trainer, where: str, prefixes: str | tuple[str, ...]) -> None:
        self._last = time.monotonic()
        if not trainer.is_global_zero:
            return
        logged = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(prefixes) and not name.endswith(("_step", "_epoch"))
        }
        values = "".join(f", {name} {value:.4g}" for name, value in [*logged.items()][:_SHOWN])
        of = "" if trainer.max_epochs in (None, -1) else f" of {trainer.max_epochs}"
        print(
            f"epoch {trainer.current_epoch + 1}{of}{where}{values}, {duration_text(self._last - self._started)}",
            flush=True,
        )
