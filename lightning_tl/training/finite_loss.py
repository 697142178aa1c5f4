"""What is said of a loss that is no number."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_tl.contracts.batches import sample_numbers
from lightning_tl.contracts.data import NamedSamples


def check_finite(loss: Tensor, batch: Any, trainer: pl.Trainer) -> None:
    """Stop where the loss is no number.

    Raises:
        FloatingPointError: when the loss is not finite, with the ids of the batch's samples.
    """
    if torch.isfinite(loss):
        return
    ids, data = sample_numbers(batch), trainer.datamodule  # type: ignore[attr-defined]
    named = data.sample_ids(ids) if isinstance(data, NamedSamples) else [str(number) for number in ids]
    names = ", ".join(map(str, named)) or "unnumbered"
    raise FloatingPointError(
        f"the loss is {loss.item()} at epoch {trainer.current_epoch}, batch {trainer.fit_loop.batch_idx}; samples: "
        f"{names}. The last checkpoint is from before this batch. "
        "Try a lower learning rate, gradient clipping (--trainer.gradient_clip_val=1), or look at these samples"
    )
