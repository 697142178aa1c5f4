"""Feature maps of timm's models."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_tl.backbones.dense.token_grids import channels_first, finest_first, grid_of_tokens


def timm_maps(model: Any, images: Tensor) -> tuple[Tensor, ...]:
    """Maps of features, fine to coarse.

    Args:
        model: of timm.
        images: [batch, channels, height, width], normalised.

    Raises:
        ValueError: it gives no grids of places.
    """
    height, width = images.shape[-2:]
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if patch is not None and not hasattr(model, "layers") and not hasattr(model, "stages"):  # one grid in all layers
        sides = (patch, patch) if isinstance(patch, int) else tuple(patch)
        final: Tensor = model.forward_features(images)
        if final.ndim == 3:
            return (grid_of_tokens(final, height // sides[0], width // sides[1]),)
        return (channels_first(final),)
    if not hasattr(model, "forward_intermediates"):
        final = model.forward_features(images)
        if not isinstance(final, Tensor) or final.ndim != 4:
            raise ValueError(f"timm's {type(model).__name__} gives no feature maps, which labels of pixels need")
        return (channels_first(final),)
    stages: list[Tensor] = model.forward_intermediates(images, intermediates_only=True, output_fmt="NCHW")
    return finest_first(stages, height)
