"""Fit pretrained weights to another image size or number of channels, and say what a backbone expects of an image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_tl.batches import ImageSpec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def check_image_size(image_size: int, patch_size: int) -> None:
    """Refuse an image that its patches do not tile.

    Raises:
        ValueError: naming the sizes next to `image_size` that would do.
    """
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
    if image_size % patch_size:
        below, above = image_size // patch_size * patch_size, -(-image_size // patch_size) * patch_size
        near = f"{below} or {above}" if below else f"{above}"
        raise ValueError(f"image_size must be a multiple of the patch size {patch_size}, got {image_size}; try {near}")


def interpolate_positions(positions: Tensor, tokens: int) -> Tensor:
    """Resize the patch part of square position embeddings, as transformers' `interpolate_pos_encoding` does.

    Args:
        positions: [1, prefix + side², width]; the prefix (class token) is kept.
        tokens: prefix + new side².

    Returns:
        [1, tokens, width].
    """
    length = positions.shape[1]
    prefix = next((p for p in range(3) if _square(length - p) and _square(tokens - p)), None)
    if prefix is None:
        raise ValueError(f"position embeddings of {length} tokens cannot be resized to {tokens}: not square grids")
    old, new = math.isqrt(length - prefix), math.isqrt(tokens - prefix)
    grid = positions[:, prefix:].reshape(1, old, old, -1).permute(0, 3, 1, 2)  # [1, width, old, old]
    grid = F.interpolate(grid.float(), size=(new, new), mode="bicubic", align_corners=False).to(positions.dtype)
    return torch.cat((positions[:, :prefix], grid.permute(0, 2, 3, 1).reshape(1, new * new, -1)), dim=1)


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """Fit a first convolution to other bands, as timm does.

    Args:
        weight: [out, known channels, height, width].
        channels: wanted.

    Returns:
        [out, channels, height, width]: summed for one band, else repeated in turn and scaled by known / wanted, so that
        the activations keep their size.
    """
    known = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight.repeat(1, -(-channels // known), 1, 1)[:, :channels] * (known / channels)


def adapt_state(
    state: Mapping[str, Tensor], target: Mapping[str, Tensor], old: ImageSpec, new: ImageSpec
) -> dict[str, Tensor]:
    """Adapt the first convolution and the position embeddings of `state` to the shapes in `target`.

    Args:
        state: weights of a model for inputs as `old` says.
        target: state dict of the same architecture for inputs as `new` says; only its shapes are read.

    Raises:
        ValueError: a tensor has another shape and is neither of the two.
    """
    adapted: dict[str, Tensor] = {}
    for key, value in state.items():
        shape = target[key].shape if key in target else value.shape
        if value.shape == shape:
            adapted[key] = value
        elif value.ndim == 4 and (value.shape[1], shape[1]) == (old.channels, new.channels):
            adapted[key] = adapt_channels(value, new.channels)
        elif key.endswith("position_embeddings") and value.ndim == 3 and value.shape[2] == shape[2]:
            adapted[key] = interpolate_positions(value, shape[1])
        else:
            raise ValueError(
                f"the weights {key} of shape {list(value.shape)} cannot be adapted to {list(shape)}; leave image_size "
                f"and channels out, which gives the model's own, {old.image_size} and {old.channels}"
            )
    return adapted


def input_spec(
    image_size: int, channels: int, mean: Sequence[float] | None, std: Sequence[float] | None, known: ImageSpec
) -> ImageSpec:
    """The input of an adapted model: given statistics, else those of its weights.

    Channels beyond those the weights were trained with get the average of the known ones; a single channel gets
    the average of all.
    """
    if image_size < 1 or channels < 1:
        raise ValueError(f"image_size and channels must be at least 1, got {image_size} and {channels}")
    means = _extended(known.mean, channels) if mean is None else tuple(mean)
    stds = _extended(known.std, channels) if std is None else tuple(std)
    if any(not value > 0 for value in stds):
        raise ValueError(f"std must be above 0 in every channel, got {list(stds)}")
    return ImageSpec(image_size, channels, means, stds)


def read_statistics(folder: Path, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation from a folder's preprocessor_config.json.

    Without that file they are ImageNet's; where it says `do_normalize: false` they are 0 and 1.
    """
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if settings.get("do_normalize", True) is False:
        return (0.0,) * channels, (1.0,) * channels
    mean, std = settings.get("image_mean") or IMAGENET_MEAN, settings.get("image_std") or IMAGENET_STD
    return _extended(_tuple(mean), channels), _extended(_tuple(std), channels)


def _tuple(value: float | Sequence[float]) -> tuple[float, ...]:
    return (float(value),) if isinstance(value, (int, float)) else tuple(float(v) for v in value)


def _extended(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    average = sum(values) / len(values)
    if channels < len(values):
        return (average,) * channels if channels == 1 else values[:channels]
    return values + (average,) * (channels - len(values))


def _square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number
