"""Whether a vision model reads images of another size than its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def check_sizes(backbone: nn.Module, sides: Sequence[int]) -> None:
    """Run a copy of a backbone on an image of each size, in evaluation mode.

    Args:
        backbone: with `input_spec` and `feature_dim`.
        sides: height and width of square images in pixels.

    Raises:
        ValueError: patches do not tile such an image, or the model gives no features of it.
    """
    own: Any = copy.deepcopy(backbone).eval()  # Swin of transformers shrinks its windows for good
    name = f"{type(backbone).__name__} {getattr(own, 'arguments', {}).get('pretrained', '')}".rstrip()
    patch = _patch_size(backbone)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        usual = own.example_inputs(1).to(next(own.parameters(), torch.empty(0)))
        before = own(usual)
        for side in sides:
            _check_tiles(name, side, patch)
            _check_features(name, own, usual.new_zeros(1, usual.shape[1], side, side))
            if not torch.equal(own(usual), before):
                raise _refusal(name, own, side, "its features of images of its own size are others afterwards")


def _check_features(name: str, backbone: Any, images: Tensor) -> None:
    side = images.shape[-1]
    try:
        found = backbone(images)
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    else:
        if found.shape == (1, backbone.feature_dim):
            return
        reason = f"it gives {list(found.shape)}, not {[1, backbone.feature_dim]}"
    raise _refusal(name, backbone, side, reason)


def _refusal(name: str, backbone: Any, side: int, reason: str) -> ValueError:
    return ValueError(
        f"{name} cannot read images of {side} x {side} pixels beside its own of {backbone.input_spec.image_size} x "
        f"{backbone.input_spec.image_size} ({reason}): take another size, or a backbone such as ViT, DINOv2, ResNet or "
        "ConvNeXt"
    )


def _check_tiles(name: str, side: int, patch: int) -> None:
    if side < 1:
        raise ValueError(f"the side of an image must be at least 1 pixel, got {side}")
    if side % patch:
        below, above = side // patch * patch, -(-side // patch) * patch
        raise ValueError(
            f"{name} cuts images into patches of {patch} x {patch} pixels, which do not tile {side} x {side}: take "
            + (f"{below} or {above}" if below else f"{above}")
        )


def _patch_size(backbone: nn.Module) -> int:
    """The side of the patches that an image is cut into without overlap; 1 for what convolves."""
    first = next((layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)), None)
    return int(first.stride[0]) if first is not None and first.stride == first.kernel_size else 1
