"""Fit pretrained weights to another image size or number of channels, and say what a backbone expects of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from lightning_tl.backbones.opening.preprocessor import read_preparation
from lightning_tl.contracts.batches import ImageSpec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# Mean and standard deviation that image towers were trained with, by model_type, for folders that do not say.
STATISTICS = {
    "clip_vision_model": _CLIP,
    "metaclip_2_vision_model": _CLIP,
    "siglip_vision_model": _HALVES,
    "siglip2_vision_model": _HALVES,
}


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


def interpolate_distances(table: Tensor, length: int) -> Tensor:
    """Resize a table of biases by relative position, as transformers' BEiT does with `interpolate_pos_encoding`.

    Args:
        table: [(2 side - 1)² + 3, heads]; the last three rows are for the class token and stay.
        length: (2 new side - 1)² + 3.

    Returns:
        [length, heads].
    """
    old, new = math.isqrt(len(table) - 3), math.isqrt(length - 3)
    if old**2 + 3 != len(table) or new**2 + 3 != length:
        raise ValueError(f"relative positions of {len(table)} rows cannot be resized to {length}: not square grids")
    grid = table[:-3].reshape(1, old, old, -1).permute(0, 3, 1, 2)  # [1, heads, old, old]
    grid = F.interpolate(grid.float(), size=(new, new), mode="bilinear", align_corners=False).to(table.dtype)
    return torch.cat((grid.permute(0, 2, 3, 1).reshape(new**2, -1), table[-3:]))


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
    """Adapt the first convolution and what depends on positions in `state` to the shapes in `target`.

    Args:
        state: weights of a model for inputs as `old` says.
        target: state dict of the same architecture for inputs as `new` says; only its shapes are read.
        old: the inputs that the weights were trained on.
        new: the inputs that come.

    Raises:
        ValueError: a tensor has another shape and is none of these.
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
        elif key.endswith("position_embedding.weight") and value.ndim == 2 and value.shape[1] == shape[1]:
            adapted[key] = interpolate_positions(value[None], shape[0])[0]  # CLIP and SigLIP: [tokens, width]
        elif key.endswith("relative_position_bias_table") and value.ndim == 2 and value.shape[1] == shape[1]:
            adapted[key] = interpolate_distances(value, shape[0])
        else:
            raise ValueError(
                f"the weights {key} of shape {list(value.shape)} cannot be adapted to {list(shape)}; leave image_size "
                f"and channels out, which gives the model's own, {old.image_size} and {old.channels}"
            )
    return adapted


def wanted_input(image_size: int | None, channels: int | None, known: ImageSpec) -> tuple[int, int]:
    """Image size and channels as given, or the model's.

    Raises:
        ValueError: a size or a number of channels below 1.
    """
    for name, value in (("image_size", image_size), ("channels", channels)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; leave it out to take the model's")
    return image_size or known.image_size, channels or known.channels


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
    return ImageSpec(image_size, channels, means, stds, known.bands if channels == known.channels else ())


def tell_of_repeating(known: ImageSpec, channels: int, weights: bool) -> None:
    """Say where weights are spread over channels whose bands nobody named."""
    if weights and channels != known.channels:
        done = "summed" if channels == 1 else "repeated in turn, whatever they show"
        rank_zero_info(
            f"The first layer reads {channels} channels by the weights of {known.channels}, {done}"
            + ("" if channels == 1 else ": name the channels with bands, and each gets the weights of its own")
        )


def read_statistics(
    folder: Path, channels: int, usual: tuple[tuple[float, ...], tuple[float, ...]] | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation from a folder's preprocessor_config.json.

    Where it says `do_normalize: false` they are 0 and 1.

    Args:
        folder: of a model.
        channels: of the images; those beyond the file's get the mean of its numbers.
        usual: where the folder says nothing; default ImageNet's.
    """
    found = read_preparation(folder)
    if not found.normalize:
        return (0.0,) * channels, (1.0,) * channels
    mean, std = usual or (IMAGENET_MEAN, IMAGENET_STD)
    return _extended(found.mean or mean, channels), _extended(found.std or std, channels)


def _extended(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    average = sum(values) / len(values)
    if channels < len(values):
        return (average,) * channels if channels == 1 else values[:channels]
    return values + (average,) * (channels - len(values))


def _square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number
