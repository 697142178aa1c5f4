"""Images as a model of transformers takes them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn


def model_inputs(model: nn.Module, images: Tensor, resized: bool = False) -> dict[str, Any]:
    """Images [batch, channels, height, width] as a model of transformers takes them.

    Args:
        model: of transformers.
        images: normalised.
        resized: whether they have another size than the model's own: it then interpolates its positions, where it has
            some.
    """
    known = inspect.signature(model.forward).parameters
    if "spatial_shapes" not in known:
        other = {"interpolate_pos_encoding": True} if resized and "interpolate_pos_encoding" in known else {}
        return {"pixel_values": images, **other}
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
