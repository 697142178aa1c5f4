"""A tiny backbone and data for the tests of training: seconds on one core, with everything that makes resuming hard."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import ViTConfig, ViTModel

from datamodules.loading.loading import ResumableLoader, SeededItems
from datamodules.loading.resumable_data import ResumableDataModule
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.backbones.base import Backbone
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.layer_groups import LayerGroup, group_of_modules
from lightning_tl.training.transfer_module import TransferModule


class TinyBackbone(Backbone):
    """Images [batch, 3, 4, 4] to features [batch, 8], in three groups, with BatchNorm, dropout and a lone parameter."""

    feature_dim = 8

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.arguments = {"pretrained": "tiny"}
        self.position = nn.Parameter(torch.zeros(1, 8))
        self.embed = nn.Linear(48, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2)) for _ in range(blocks)
        )

    @property
    def input_spec(self) -> ImageSpec:
        return ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.embed(inputs.flatten(1)) + self.position
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return hidden

    def layer_groups(self) -> list[LayerGroup]:
        return [
            group_of_modules("embeddings", self, [self.embed], ["position"]),
            *(group_of_modules(f"block.{k}", self, [block]) for k, block in enumerate(self.blocks)),
        ]

    def reinitialise(self) -> None:
        raise NotImplementedError

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        raise NotImplementedError


def tiny_vit(folder: Path) -> HuggingFaceVision:
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(**size, image_size=4, patch_size=2)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder / "vit")
    return HuggingFaceVision(str(folder / "vit"))


class TinyImages(Dataset[dict[str, Any]]):
    """Random images of 3 classes; every read draws from torch, numpy and random, as augmentations do."""

    def __init__(self, size: int, augment: bool = True) -> None:
        generator = torch.Generator().manual_seed(0)
        self.target = torch.randint(0, 3, (size,), generator=generator)
        self.inputs = torch.randn(size, 3, 4, 4, generator=generator) + self.target.view(-1, 1, 1, 1) * 0.5 - 0.5
        self.augment = augment

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.inputs[index].clone()
        if self.augment:
            image = image.flip(-1) if random.random() < 0.5 else image
            image = image + 0.1 * torch.randn(3, 4, 4) + float(np.random.normal(0, 0.1))
        return {"inputs": image, "target": self.target[index], "index": torch.tensor(index)}


class TinyData(ResumableDataModule):
    """The project's loaders over `TinyImages`: 56 samples make 7 batches."""

    class_names = ("a", "b", "c")

    def __init__(self, size: int = 56, workers: int = 0) -> None:
        super().__init__(batch_size=8, num_workers=workers, seed=7)
        self.size = size

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        return [f"tile-{index}" for index in indices]

    def train_dataloader(self) -> ResumableLoader:
        return self.training_loader(SeededItems(TinyImages(self.size), self.seed), np.arange(self.size))

    def val_dataloader(self) -> ResumableLoader:
        samples = SeededItems(TinyImages(24, augment=False), self.seed)
        return self.evaluation_loader(samples, np.arange(24), "validation")

    test_dataloader = val_dataloader


def tiny_module(**kwargs: Any) -> TransferModule:
    """A module whose weights depend on nothing but the seed."""
    torch.manual_seed(0)
    return TransferModule(TinyBackbone(kwargs.pop("blocks", 2)), **({"lr": 0.05, "weight_decay": 0.1} | kwargs))


def tiny_trainer(folder: Path | str, callbacks: Sequence[pl.Callback] = (), **kwargs: Any) -> pl.Trainer:
    """A quiet trainer on one CPU."""
    pl.seed_everything(7, verbose=False)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks),
        "num_sanity_val_steps": 1,
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 4,
        "default_root_dir": str(folder),
    }
    return pl.Trainer(callbacks=list(callbacks), **(quiet | kwargs))


def weights_hash(module: nn.Module) -> str:
    """One number for every bit of the weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class StopAfter(pl.Callback):
    """Ends a run early, as a kill would, with the schedule of the whole run."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


def check_resumes(
    make: Callable[[], pl.LightningModule],
    folder: Path,
    callbacks: Callable[[], list[pl.Callback]] = list,
    data: Callable[[], pl.LightningDataModule] = TinyData,
    monitor: str = "val_loss",
) -> None:
    """A run of four epochs that is stopped after the second and resumed ends with the same bits as a whole one."""

    def run(where: Path, epochs: int, resume: str | None = None) -> str:
        module = make()
        kept = [ResumableCheckpoint(monitor, dirpath=where), StopAfter(epochs), *callbacks()]
        tiny_trainer(where, kept).fit(module, datamodule=data(), ckpt_path=resume, weights_only=True)
        return weights_hash(module)

    whole = run(folder / "whole", 4)
    assert run(folder / "part", 2) != whole
    assert run(folder / "part", 4, str(folder / "part" / "last.ckpt")) == whole
