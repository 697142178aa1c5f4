"""Accumulated gradients in an epoch's last step, which may have fewer batches than the others."""

from __future__ import annotations

import lightning.pytorch as pl


def short_step(trainer: pl.Trainer) -> float:
    """`accumulate_grad_batches` over the number of batches of this step, for Lightning divides by the former alone."""
    wanted, batches = trainer.accumulate_grad_batches, trainer.num_training_batches
    first = trainer.fit_loop.batch_idx // wanted * wanted
    return wanted / min(wanted, batches - first) if batches > first else 1.0
