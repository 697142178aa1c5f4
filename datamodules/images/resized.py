"""Bringing images, and masks beside them, to the size of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lightning_tl.contracts.batches import IGNORED


def resized(image: Tensor, image_size: int) -> Tensor:
    """Bring the shorter side to `image_size` (bicubic, antialiased) and cut out the centre.

    Args:
        image: [channels, height, width] or [batch, channels, height, width], uint8, or floats in 0…1.
        image_size: in pixels.

    Returns:
        the same, of height and width `image_size`.
    """
    height, width = image.shape[-2:]
    if height == width == image_size:
        return image
    scale = image_size / min(height, width)
    size = (max(image_size, round(height * scale)), max(image_size, round(width * scale)))
    batch = image if image.ndim == 4 else image[None]
    if size != (height, width):
        batch = F.interpolate(batch, size=size, mode="bicubic", antialias=True)
        if batch.is_floating_point():
            batch = batch.clamp(0, 1)
    top, left = (size[0] - image_size) // 2, (size[1] - image_size) // 2
    batch = batch[..., top : top + image_size, left : left + image_size]
    return batch if image.ndim == 4 else batch[0]


def in_unit_range(images: Tensor) -> Tensor:
    """uint8 as floats in 0…1; floats as they are."""
    return images if images.is_floating_point() else images.float() / 255


def squared(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """An image [channels, height, width] and its mask [height, width], filled up to a square at the right and below.

    The image goes on with its edge, the mask with `IGNORED`, so nothing is lost and nothing is added that counts.
    """
    height, width = mask.shape
    side = max(height, width)
    if height == width:
        return image, mask
    below, right = side - height, side - width
    grown = F.pad(image[None].float(), (0, right, 0, below), mode="replicate")[0].to(image.dtype)
    return grown, F.pad(mask, (0, right, 0, below), value=IGNORED)


def fitted(image: Tensor, mask: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
    """Both as a square of `image_size`: the image bicubic and antialiased, the mask nearest.

    Args:
        image: [channels, height, width], uint8 or floats in 0…1.
        mask: [height, width] int64.
        image_size: in pixels.
    """
    image, mask = squared(image, mask)
    return resized(image, image_size), nearest(mask, (image_size, image_size))


def nearest(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask [height, width] of another size: each place takes the class at its middle."""
    if tuple(mask.shape) == size:
        return mask
    rows, columns = (torch.from_numpy(_middles(count, have)) for count, have in zip(size, mask.shape, strict=True))
    return mask[rows[:, None], columns[None, :]]


def _middles(count: int, have: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = ((np.arange(count) + 0.5) * have / count).astype(np.int64)
    return found


def jointly(transform: Callable[..., Any], image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """A torchvision v2 transform of an image and its mask at once; what it fills in is `IGNORED` in the mask.

    Args:
        transform: of version 2, which knows images from masks.
        image: [channels, height, width].
        mask: [height, width] int64.

    Raises:
        ValueError: it does not take both.
    """
    from torchvision import tv_tensors

    shifted = torch.where(mask == IGNORED, 0, mask + 1)[None]  # transforms fill masks with 0
    try:
        moved, classes = transform(tv_tensors.Image(image), tv_tensors.Mask(shifted))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{getattr(transform, '__name__', type(transform).__name__)} does not take an image and its mask "
            f"({str(error).strip().splitlines()[0]}): use a transform of torchvision.transforms.v2"
        ) from None
    found = classes.as_subclass(Tensor)[0].to(torch.int64)
    return moved.as_subclass(Tensor), torch.where(found == 0, IGNORED, found - 1)
