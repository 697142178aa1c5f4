"""A tiny backbone and data with all that a report asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ClassificationBatch, ImageSpec
from lightning_tl.contracts.layer_groups import LayerGroup, group_of_modules

NAMES = ("forest", "water", "urban")
SIZES = {"train": 48, "validation": 20, "test": 31, "predict": 31}  # 31: two processes share it unevenly
OFFSETS = {"train": 0, "validation": 100, "test": 200, "predict": 200}


class TinyBackbone(Backbone):
    """Images [batch, 3, 4, 4] to 8 features."""

    def __init__(self, broken_export: bool = False) -> None:
        super().__init__()
        self.feature_dim, self.broken_export = 8, broken_export
        self.embeddings, self.block = nn.Linear(48, 8), nn.Linear(8, 8)

    @property
    def input_spec(self) -> ImageSpec:
        return ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.block(torch.tanh(self.embeddings(inputs.flatten(1)))))

    def layer_groups(self) -> list[LayerGroup]:
        return [
            group_of_modules("embeddings", self, [self.embeddings]),
            group_of_modules("block.0", self, [self.block]),
        ]

    def reinitialise(self) -> None:
        self.embeddings.reset_parameters()

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        if self.broken_export:
            raise RuntimeError("no exporter today")
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"backbone": self.state_dict(), "head": head.state_dict()}, folder / "weights.pt")
        return f"torch.load('{folder / 'weights.pt'}')"


class Images(Dataset[ClassificationBatch]):
    """Noise whose mean tells the class, mostly."""

    def __init__(self, split: str, several: bool) -> None:
        self.split, self.several = split, several

    def __len__(self) -> int:
        return SIZES[self.split]

    def __getitem__(self, item: int) -> Any:
        index = OFFSETS[self.split] + item
        several = torch.tensor([float(k in (index % 3, index % 5)) for k in range(3)])
        target = several if self.several else index % 3
        inputs = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(index)) + 0.4 * (index % 3 - 1)
        labelled = {} if self.split == "predict" else {"target": target}
        return {"inputs": inputs, "index": index, **labelled}


class TinyData(pl.LightningDataModule):
    """Three classes of tiny images; `blocks` groups four neighbours."""

    def __init__(self, several: bool = False, blocks: bool = True, broken_images: bool = False) -> None:
        super().__init__()
        self.class_names, self.several, self.has_blocks, self.broken_images = NAMES, several, blocks, broken_images

    def _loader(self, split: str) -> DataLoader[ClassificationBatch]:
        return DataLoader(Images(split, self.several), batch_size=8)

    def train_dataloader(self) -> DataLoader[ClassificationBatch]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[ClassificationBatch]:
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[ClassificationBatch]:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[ClassificationBatch]:
        return self._loader("predict")

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        return [f"tile-{index}" for index in indices]

    def image(self, index: int) -> np.ndarray:
        if self.broken_images:
            raise OSError("the picture is gone")
        return np.random.default_rng(index).integers(0, 255, (4, 4, 3), dtype=np.uint8)

    def blocks(self, indices: Sequence[int]) -> np.ndarray | None:
        return np.asarray(indices) // 4 if self.has_blocks else None
