"""Features of a frozen backbone, computed once and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ClassificationBatch, moved
from lightning_tl.contracts.data import CacheableData
from lightning_tl.contracts.notice import Notice
from lightning_tl.reports.progress import progress_bar


@dataclass(frozen=True)
class Features:
    """Features of one split in the order of its samples; view 0 is unaugmented.

    Args:
        values: [views, samples, feature_dim], float32; memory-mapped when large.
        target: [samples] or [samples, num_classes].
        index: [samples], the samples' numbers in their data set.
    """

    values: Tensor
    target: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)


class FeatureLoader:
    """Batches of kept features; the order is a function of (seed, epoch), and each epoch takes the next view.

    Over all ranks together each sample is served once an epoch, in batches whose sizes differ by one at most; every
    rank has as many batches.

    Args:
        features: what to serve.
        batch_size: per rank, at most.
        trainer: tells epoch, rank and, in a resumed epoch, the batch to start with.
        shuffle: False for validation, which always reads view 0.
    """

    def __init__(self, features: Features, batch_size: int, trainer: pl.Trainer, shuffle: bool, seed: int = 0) -> None:
        self.features, self.batch_size, self.trainer = features, batch_size, trainer
        self.shuffle, self.seed = shuffle, seed % 2**63

    def _mine(self, epoch: int) -> Tensor:
        count, ranks = len(self.features), self.trainer.world_size
        order = torch.arange(count)
        if self.shuffle:
            order = torch.randperm(count, generator=torch.Generator().manual_seed(_mixed(self.seed, epoch)))
            if count % ranks:  # every rank must take the same number of optimizer steps
                order = torch.cat([order, order[: ranks - count % ranks]])
        return order[self.trainer.global_rank :: ranks]

    def __len__(self) -> int:
        return -(-len(self.features) // (self.trainer.world_size * self.batch_size))

    def state_dict(self) -> dict[str, int]:
        """What has to be the same for a resumed run to go on exactly; Lightning puts it in the checkpoint."""
        return {"seed": self.seed, "samples": len(self.features), "batches": len(self)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Warn when the checkpoint's run had other batches."""
        if state_dict != self.state_dict():
            rank_zero_warn(
                f"the checkpoint comes from a run with other batches ({state_dict}, now {self.state_dict()}): training "
                "goes on at the same batch number, but not exactly as that run would have",
                category=Notice,
            )

    def __iter__(self) -> Iterator[ClassificationBatch]:
        # A generator: nothing below runs before the first next(), when Lightning has restored its counters.
        epoch = self.trainer.current_epoch
        view = epoch % len(self.features.values) if self.shuffle else 0
        start = self.trainer.fit_loop.batch_idx + 1 if self.shuffle else 0
        for number, rows in enumerate(self._mine(epoch).tensor_split(len(self))):
            if number < start:
                continue
            if self.shuffle:  # dropout in the head, too, is the same in a resumed run
                torch.manual_seed(_mixed(self.seed, epoch, number, self.trainer.global_rank))
            yield {
                "features": self.features.values[view][rows],
                "target": self.features.target[rows],
                "index": self.features.index[rows],
            }


def _mixed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1


@torch.no_grad()
def compute_features(
    backbone: Backbone, data: CacheableData, split: str, views: int, trainer: pl.Trainer, limit_bytes: int
) -> Features:
    """Run the backbone once over `views` views of `split`; under DDP every rank does its share and all see the whole.

    Args:
        backbone: on the trainer's device; it is left in its mode.
        data: set up, whose samples are read.
        split: "train" or "validation".
        views: how often each sample is read: as it is, and in numbered augmentations.
        trainer: says which device and process this is, and where the run folder lies.
        limit_bytes: larger features, and those of several ranks, lie in a memory-mapped file in the run folder.

    Raises:
        ValueError: when there are no samples, fewer than processes, or targets that are no tensor.
    """
    device, rank, ranks = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
    count = data.cache_size(split)
    if count < ranks:
        raise ValueError(f"the {split} split has {count} samples, which is too few for {ranks} process(es)")
    shape = (views, count, backbone.feature_dim)
    if ranks > 1 or 4 * int(np.prod(shape)) > limit_bytes:
        values = _shared_array(trainer, f"{split}_features", shape)
    else:
        values = np.empty(shape, np.float32)
    targets: dict[int, Tensor] = {}
    total = views * len(range(rank, count, ranks))
    told = f"Computing the features of {total:,} samples ({split})"
    bar = progress_bar(total, f"Features of {split}", "samples", rank == 0, told)
    was_training = backbone.training
    backbone.eval()
    for view in range(views):
        done = 0
        for batch in data.cache_loader(split, view, rank, ranks):
            if not isinstance(batch["target"], Tensor):
                kinds = type(batch["target"]).__name__
                raise ValueError(f"the target of a batch must be one tensor to be kept with features, got a {kinds}")
            rows = rank + ranks * np.arange(done, done + len(batch["index"]))
            with trainer.precision_plugin.forward_context():
                output = backbone(moved(trainer.precision_plugin.convert_input(batch["inputs"]), device))
            values[view, rows] = output.float().cpu().numpy()
            if view == 0:
                pairs = zip(rows.tolist(), batch["target"], batch["index"], strict=True)
                targets |= {row: torch.cat([i.reshape(1).double(), t.reshape(-1).double()]) for row, t, i in pairs}
                kind = batch["target"]
            done += len(rows)
            bar.update(len(rows))
    bar.close()
    if isinstance(values, np.memmap):
        values.flush()
    backbone.train(was_training)
    table = np.zeros((count, len(next(iter(targets.values())))))
    for row, line in targets.items():
        table[row] = line.numpy()
    if ranks > 1:
        gathered = trainer.strategy.reduce(torch.from_numpy(table).to(device), reduce_op="sum")
        assert isinstance(gathered, Tensor)
        table = gathered.cpu().numpy()
        trainer.strategy.barrier("features")
    target = torch.from_numpy(table[:, 1:]).to(kind.dtype)
    index = torch.from_numpy(table[:, 0]).long()
    return Features(torch.from_numpy(values), target[:, 0] if kind.ndim == 1 else target, index)


def _shared_array(trainer: pl.Trainer, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    folder = Path(trainer.default_root_dir) / "features"
    path = folder / f"{name}.npy"
    if trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape).flush()
    trainer.strategy.barrier("feature file")
    array: np.ndarray[Any, np.dtype[np.float32]] = np.lib.format.open_memmap(path, mode="r+")
    return array
