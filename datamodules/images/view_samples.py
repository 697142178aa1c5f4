"""Several random views of each image, made from one reading of its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from datamodules.images.augmentation import Augmentation
from datamodules.images.image_samples import alike
from datamodules.images.resized import in_unit_range
from datamodules.loading.orders import Indices
from datamodules.loading.seeding import mix, sample_keys, seed_generators
from lightning_tl.contracts.batches import ImageBatch, ImageSpec
from lightning_tl.inputs.pixel_values import Pixels

ASPECT = 4 / 3  # a crop's width is between its height divided by this and times this


@dataclass(frozen=True)
class View:
    """How one view of an image is made: a part is cut out at random and brought to a size, and then augmented.

    Args:
        size: height and width of the view in pixels.
        area: least and largest share of the image's area that is cut out; (1, 1) takes the middle of the whole.
        augmentation: what happens to it then.
    """

    size: int
    area: tuple[float, float]
    augmentation: Augmentation

    def cut(self, image: Tensor) -> Tensor:
        """Draws from torch's global generator: [channels, height, width] to [channels, size, size] of its own type."""
        if self.area != (1.0, 1.0):
            crop = v2.RandomResizedCrop(
                self.size,
                self.area,
                ratio=(1 / ASPECT, ASPECT),
                interpolation=v2.InterpolationMode.BICUBIC,
                antialias=True,
            )
            image = crop(image)
            image = image.clamp(0, 1) if image.is_floating_point() else image  # bicubic filters overshoot
        return self.augmentation.one(image, self.size)


class ViewSamples:
    """`Samples` of a data module without labels; a view is a function of (seed, epoch, index, number of the view).

    Args:
        read: index -> [height, width, channels], uint8, or floats in 0…1.
        spec: normalisation of the result.
        views: each of the size of `spec`.
        local: smaller ones, all of one size; empty for none.
        seed: of crops and augmentation.
    """

    clean_workers = False  # whether workers must come from a process without the past of this one

    def __init__(
        self, read: Callable[[int], Pixels], spec: ImageSpec, views: Sequence[View], local: Sequence[View], seed: int
    ) -> None:
        self.read, self.views, self.local, self.seed = read, tuple(views), tuple(local), seed
        self.mean = torch.tensor(spec.mean).view(-1, 1, 1)
        self.std = torch.tensor(spec.std).view(-1, 1, 1)

    def fetch(self, indices: Indices, epoch: int) -> ImageBatch:
        """Inputs [batch, channels, size, size], or [batch, views, channels, size, size] of several views, and local."""
        every = (*self.views, *self.local)
        cut = [self._cut(index, epoch, every) for index in indices.tolist()]
        made: list[Tensor] = []
        for number, view in enumerate(every):
            keys = sample_keys(indices, self.seed, "view", epoch, number)
            images = view.augmentation.many(alike([views[number] for views in cut]), keys)
            made.append((in_unit_range(images) - self.mean).div_(self.std))
        count = len(self.views)
        inputs = made[0] if count == 1 else torch.stack(made[:count], 1)
        batch: ImageBatch = {"inputs": inputs, "index": torch.from_numpy(indices)}
        if self.local:
            batch["local"] = torch.stack(made[count:], 1)
        return batch

    def _cut(self, index: int, epoch: int, every: Sequence[View]) -> list[Tensor]:
        image, found = torch.from_numpy(np.array(self.read(index))).permute(2, 0, 1), []
        for number, view in enumerate(every):
            seed_generators(mix(self.seed, "view", epoch, index, number))
            found.append(view.cut(image))
        return found
