"""`LoaderSamples`: the samples behind plain DataLoaders, each to be read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset

from lightning_tl.compat.for_lightning import sources_of_fit
from lightning_tl.contracts.batches import ClassificationBatch, classification_batch
from lightning_tl.strategies.probe.features import FeatureLoader

Split = Literal["train", "validation"]


class LoaderSamples:
    """Reads what `trainer.fit(module, train_loader, val_loader)` was given, in the order of the data sets.

    A sampler of the training loader is left out: every sample is read once. Samples have the numbers that their batches
    say, else their places in the data set. What the data set augments is kept as it was drawn that once.

    Raises:
        ValueError: no validation loader, several, or data without a length.
    """

    seed = 0

    def __init__(self, trainer: pl.Trainer) -> None:
        self.loaders = {
            split: _checked(source.dataloader() if source.is_defined() else None, split)
            for split, source in sources_of_fit(trainer).items()
        }
        self.batch_size: int = self.loaders["train"].batch_size or 64

    def cache_size(self, split: str) -> int:
        """How many samples `cache_loader` serves over all ranks."""
        return len(cast(Any, self.loaders[split].dataset))

    def cache_loader(self, split: str, view: int, rank: int, world_size: int) -> Iterator[ClassificationBatch]:
        """See `CacheableData`; there is but one view."""
        loader = self.loaders[split]
        rows = range(rank, self.cache_size(split), world_size)
        workers, collate = loader.num_workers, loader.collate_fn
        size = loader.batch_size or 64
        samples: Any = DataLoader(Subset(loader.dataset, rows), size, num_workers=workers, collate_fn=collate)
        done = 0
        for raw in samples:
            batch = classification_batch(raw)
            count = len(batch["target"])
            numbers = torch.tensor(list(rows[done : done + count]))
            done += count
            yield batch if "index" in batch else {**batch, "index": numbers}


def read_in_this_fit(trainer: pl.Trainer, train: FeatureLoader, validation: FeatureLoader) -> None:
    """Let the Trainer read these until its fit ends, in place of what it was given; neither data nor loaders change."""
    sources = sources_of_fit(trainer)
    sources["train"].instance, sources["validation"].instance = train, validation


def _checked(loader: Any, split: str) -> DataLoader[Any]:
    if loader is None and split == "validation":
        raise ValueError(
            "LinearProbe chooses the strength of its penalty on validation samples: give trainer.fit a validation "
            "loader (val_dataloaders=…)"
        )
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise ValueError(
            f"LinearProbe reads every sample once, in order: its {split} loader must be one torch DataLoader over a "
            f"data set with a length, got {type(loader).__name__}; or use FineTune with the adaptation Frozen"
        )
    return loader
