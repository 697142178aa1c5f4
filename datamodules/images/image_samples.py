"""Reads batches of images: decode or look up, augment, resize, normalise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.images.augmentation import Augmentation
from datamodules.images.resized import in_unit_range, resized
from datamodules.loading.orders import Indices
from datamodules.loading.seeding import mix, sample_keys, seed_generators
from lightning_tl.contracts.batches import ClassificationBatch, ImageSpec


class ImageSamples:
    """`Samples` of an image data module.

    Args:
        read: index -> [height, width, channels], uint8 or floats in 0…1, for images that are not in memory.
        images: [n, channels, height, width] uint8, all images in memory, looked up by index; then `read` is not used
            and a batch costs no Python per sample.
        targets: [n] or [n, classes], looked up by index.
        spec: size and normalisation of the result.
        augmentation: `Augmentation()` for none.
        seed: of the augmentation.
        as_floats: bring 8 bits to the size as floats, as images in memory are; else as bytes, with rounding.
    """

    clean_workers = False  # whether workers must come from a process without the past of this one

    def __init__(
        self,
        read: Callable[[int], NDArray[np.uint8] | NDArray[np.float32]],
        images: Tensor | None,
        targets: Tensor,
        spec: ImageSpec,
        augmentation: Augmentation,
        seed: int,
        as_floats: bool = False,
    ) -> None:
        self.read, self.images, self.targets = read, images, targets
        self.image_size, self.augmentation, self.seed = spec.image_size, augmentation, seed
        self.mean = torch.tensor(spec.mean).view(1, -1, 1, 1)
        self.std = torch.tensor(spec.std).view(1, -1, 1, 1)
        self.as_floats = as_floats
        self._single = type(augmentation).one is not Augmentation.one

    def fetch(self, indices: Indices, epoch: int) -> ClassificationBatch:
        """Inputs [batch, channels, image_size, image_size], normalised; target; index [batch]."""
        index = torch.from_numpy(indices)
        if self.images is not None and not self._single:
            pixels = self.images[index]
        else:
            pixels = alike([self._one(i, epoch) for i in indices.tolist()])
        inputs = self.augmentation.many(pixels, sample_keys(indices, self.seed, "image", epoch))
        inputs = resized(inputs, self.image_size)
        return {"inputs": (inputs - self.mean).div_(self.std), "target": self.targets[index], "index": index}

    def _one(self, index: int, epoch: int) -> Tensor:
        """[channels, image_size, image_size], uint8 or floats in 0…1."""
        if self.images is not None:
            image = self.images[index]
        else:
            image = torch.from_numpy(np.array(self.read(index))).permute(2, 0, 1)
            image = in_unit_range(image) if self.as_floats else image
        if self._single:
            seed_generators(mix(self.seed, "image", epoch, index))
        return self.augmentation.one(image, self.image_size)


def alike(images: list[Tensor]) -> Tensor:
    """A batch of images: uint8, or floats in 0…1 where one of them is."""
    if any(image.is_floating_point() for image in images):
        images = [image if image.is_floating_point() else image.float() / 255 for image in images]
    return torch.stack(images)
