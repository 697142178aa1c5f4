"""Running a backbone over batches as fast as the device allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import moved


def embed_batches(
    backbone: Backbone, batches: Iterable[Any], device: torch.device, bf16: bool
) -> Iterator[NDArray[np.float32]]:
    """The features of each batch, [batch, feature_dim], in turn.

    A GPU is given a batch before the results of the one before are waited for, so that it does not stand still while
    the next is read.

    Args:
        backbone: on `device`, in evaluation mode.
        batches: each has `inputs`.
        device: that computes.
        bf16: run under autocast.
    """
    waiting: tuple[Tensor, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            features = backbone(moved(batch["inputs"], device, non_blocking=True)).float()
            result = features.to("cpu", non_blocking=device.type == "cuda")
        if device.type != "cuda":
            yield result.numpy()
            continue
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = result, event
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(result: Tensor, event: torch.cuda.Event) -> NDArray[np.float32]:
    event.synchronize()
    found: NDArray[np.float32] = result.numpy()
    return found
