"""Features of the labelled samples beside a pretraining run."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lightning_tl.contracts.batches import moved
from lightning_tl.contracts.data import CacheableData
from lightning_tl.pretraining.pretraining import Pretraining

Labelled = tuple[Tensor, Tensor]  # features [n, dim] float32, and classes [n] int64, in the order of the data


@torch.no_grad()
def probed_features(
    module: Pretraining, data: CacheableData, split: str, most: int | None, trainer: pl.Trainer
) -> Labelled:
    """Features and classes of a split, on the CPU; every process reads its share, and all get the whole.

    Args:
        module: in evaluation mode, on the trainer's device.
        data: set up; it is read without augmentation.
        split: "train" or "validation".
        most: samples at most, drawn once and for all; None for every one.
        trainer: says which device and process this is.

    Raises:
        ValueError: a target is no single class.
    """
    rank, ranks, device = trainer.global_rank, trainer.world_size, trainer.strategy.root_device
    wanted = chosen(data.cache_size(split), most)
    mine: list[tuple[Any, Any, Any]] = []
    done = 0
    for batch in data.cache_loader(split, 0, rank, ranks):
        target, places = batch["target"], rank + ranks * np.arange(done, done + len(batch["target"]))
        check_target(target)
        done += len(places)
        rows = np.flatnonzero(wanted[places])
        if len(rows) == 0:
            continue
        inputs = batch["inputs"]
        if len(rows) < len(places):
            inputs = {k: v[rows] for k, v in inputs.items()} if isinstance(inputs, dict) else inputs[rows]
        with trainer.precision_plugin.forward_context():
            found = module.features(moved(trainer.precision_plugin.convert_input(inputs), device))
        mine.append((places[rows], found.float().cpu().numpy(), target[rows].cpu().numpy()))
    parts: list[Any] = [mine]
    if ranks > 1:
        parts = [None] * ranks
        dist.all_gather_object(parts, mine)
    every = [piece for part in parts for piece in part]
    places, values, classes = (np.concatenate([piece[k] for piece in every]) for k in range(3))
    order = np.argsort(places)
    return torch.from_numpy(values[order]), torch.from_numpy(classes[order].astype(np.int64))


def chosen(count: int, most: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of so many samples are read: [count]."""
    kept = np.zeros(count, bool)
    kept[np.random.default_rng(0).permutation(count)[:most]] = True
    return kept


def check_target(target: Any) -> None:
    """Refuse what is no class a sample.

    Raises:
        ValueError: naming what it is.
    """
    if not isinstance(target, Tensor) or target.ndim != 1 or target.is_floating_point():
        kind = f"{target.dtype} of shape {list(target.shape)}" if isinstance(target, Tensor) else type(target).__name__
        raise ValueError(f"the probe needs data with one class a sample, and targets are {kind}")
