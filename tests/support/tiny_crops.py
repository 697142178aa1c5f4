"""Random images with views and local crops, for objectives that compare crops."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from datamodules.loading.loading import ResumableLoader
from datamodules.loading.orders import Indices
from datamodules.loading.resumable_data import ResumableDataModule
from lightning_tl.contracts.batches import ImageSpec

IMAGES = 32


class CroppedImages(ResumableDataModule):
    """Each image is noise of its own; a view is the image with other noise, a local crop a corner of a view."""

    def __init__(
        self,
        spec: ImageSpec,
        local_views: int = 3,
        local_size: int | None = None,
        views: int = 2,
        batch_size: int = 8,
        bad: int | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=0, seed=1)
        self.input_spec, self.views, self.local_views = spec, views, local_views
        self.local_size = spec.image_size // 2 if local_size is None else local_size
        self.bad = bad  # number of an image of which a pixel is no number

    @property
    def crops(self) -> tuple[int, int, int]:
        """See `CroppedData`."""
        return self.views, self.local_views, self.local_size

    def fetch(self, indices: Indices, epoch: int) -> dict[str, Any]:
        side = self.input_spec.image_size
        shape = (self.input_spec.channels, side, side)
        images = []
        for number in indices.tolist():
            own = torch.Generator().manual_seed(number)
            image = torch.randn(shape, generator=own)
            if number == self.bad:
                image[0, 0, 0] = float("nan")
            noise = torch.Generator().manual_seed(1000 * epoch + number)
            count = (self.views + self.local_views, *shape)
            images.append(image + 0.3 * torch.randn(count, generator=noise))
        crops = torch.stack(images)  # [batch, views + local views, channels, side, side]
        batch = {"inputs": crops[:, : self.views], "index": torch.from_numpy(indices)}
        if self.local_views:
            batch["local"] = crops[:, self.views :, :, : self.local_size, : self.local_size]
        return batch

    def train_dataloader(self) -> ResumableLoader:
        return self.training_loader(self, np.arange(IMAGES), in_memory=True)
