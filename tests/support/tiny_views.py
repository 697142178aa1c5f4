"""Two views of made-up images, for the tests of pretraining."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from datamodules.loading.loading import ResumableLoader
from datamodules.loading.orders import Indices
from datamodules.loading.resumable_data import ResumableDataModule
from lightning_tl.contracts.batches import ImageSpec


class TwoViews(ResumableDataModule):
    """Random images, each twice with other noise."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__(batch_size=8, num_workers=0, seed=1)
        self.input_spec = spec

    def fetch(self, indices: Indices, epoch: int) -> dict[str, Tensor]:
        shape = (self.input_spec.channels, self.input_spec.image_size, self.input_spec.image_size)
        images = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(k))) for k in indices])
        noise = torch.randn((2, len(indices), *shape), generator=torch.Generator().manual_seed(epoch))
        return {"inputs": (images + 0.3 * noise).transpose(0, 1), "index": torch.from_numpy(indices)}

    def train_dataloader(self) -> ResumableLoader:
        return self.training_loader(self, np.arange(32), in_memory=True)
