"""Images as a model of transformers takes them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn


def model_inputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Images [batch, channels, height, width] as a model of transformers takes them."""
    if "spatial_shapes" not in inspect.signature(model.forward).parameters:
        return {"pixel_values": images}
    # SigLIP 2 takes patches of images of any form: [batch, patches, side * side * channels]
    config: Any = model.config
    side: int = getattr(config, "vision_config", config).patch_size
    batch, channels, height, width = images.shape
    rows, columns = height // side, width // side
    patches = images.reshape(batch, channels, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": patches.reshape(batch, rows * columns, side * side * channels),
        "pixel_attention_mask": torch.ones(batch, rows * columns, dtype=torch.long, device=images.device),
        "spatial_shapes": torch.tensor([[rows, columns]] * batch, device=images.device),
    }
