"""Reads batches of images with their masks: decode, move both alike, resize, normalise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.images.augmentation import Augmentation
from datamodules.images.image_samples import alike
from datamodules.images.resized import in_unit_range
from datamodules.loading.orders import Indices
from datamodules.loading.seeding import mix, sample_keys, seed_generators
from lightning_tl.contracts.batches import ClassificationBatch, ImageSpec


class MaskedSamples:
    """`Samples` of images with masks; what a sample gets in an epoch depends on (seed, epoch, index) alone.

    Args:
        read: index -> [height, width, channels], uint8 or floats in 0…1.
        mask: index -> [height, width] class numbers, `IGNORED` where not known.
        spec: size and normalisation of the result.
        augmentation: `Augmentation()` for none.
        seed: of the augmentation.
    """

    clean_workers = False  # whether workers must come from a process without the past of this one

    def __init__(
        self,
        read: Callable[[int], NDArray[np.uint8] | NDArray[np.float32]],
        mask: Callable[[int], NDArray[np.int64]],
        spec: ImageSpec,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        augmentation.check_moves_masks()
        self.read, self.mask, self.augmentation, self.seed = read, mask, augmentation, seed
        self.image_size = spec.image_size
        self.mean = torch.tensor(spec.mean).view(1, -1, 1, 1)
        self.std = torch.tensor(spec.std).view(1, -1, 1, 1)
        self._single = type(augmentation).one is not Augmentation.one

    def fetch(self, indices: Indices, epoch: int) -> ClassificationBatch:
        """Inputs [batch, channels, side, side], normalised; target [batch, side, side]; index [batch]."""
        pairs = [self._one(index, epoch) for index in indices.tolist()]
        keys = sample_keys(indices, self.seed, "image", epoch)
        images, masks = alike([image for image, _ in pairs]), torch.stack([mask for _, mask in pairs])
        masks = self.augmentation.many_masks(masks, keys, images.shape[1])
        inputs = self.augmentation.many(images, keys)
        inputs = (in_unit_range(inputs) - self.mean).div_(self.std)
        return {"inputs": inputs, "target": masks, "index": torch.from_numpy(indices)}

    def _one(self, index: int, epoch: int) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(np.array(self.read(index))).permute(2, 0, 1)
        mask = torch.from_numpy(self.mask(index))
        if image.shape[1:] != mask.shape:
            have, wanted = (" x ".join(map(str, part.shape[-2:])) for part in (mask, image))
            raise OSError(f"the mask of sample {index} is {have} pixels, and its image {wanted}")
        if self._single:
            seed_generators(mix(self.seed, "image", epoch, index))
        return self.augmentation.one_with_mask(image, mask, self.image_size)
