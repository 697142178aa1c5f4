"""`ResumableDataModule`: a data module whose runs can be continued exactly."""

from __future__ import annotations

import os
from typing import Any

import lightning.pytorch as pl

from datamodules.loading.loading import ResumableLoader, Samples, available_workers
from datamodules.loading.orders import EvaluationOrder, Indices, Order, TrainingOrder
from lightning_tl.contracts.conditions import Conditions


class ResumableDataModule(pl.LightningDataModule):
    """Makes the loaders of a data module: seeded, spread over the ranks, and starting where a stopped run was.

    A subclass builds its `Samples` in `setup` and returns `training_loader(…)` and `evaluation_loader(…)` from the
    hooks that Lightning calls.

    Args:
        batch_size: training samples in a batch, for each device.
        eval_batch_size: the same for validation, test and prediction; default twice `batch_size`.
        num_workers: processes for each device that read ahead; default 0 for data in memory, else one for each core.
        seed: of the order and all randomness of samples; default the seed of `seed_everything`, or 0.
        drop_last: leave out training samples that do not fill a batch; False spreads them evenly over batches.
    """

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        seed: int | None = None,
        drop_last: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.drop_last, self._seed = num_workers, drop_last, seed
        self._served: Conditions | None = None

    @property
    def conditions(self) -> Conditions:
        """Those that were handed in by `serve`, else the Trainer's."""
        if self._served is not None:
            return self._served
        return Conditions() if self.trainer is None else Conditions.of_trainer(self.trainer)

    def serve(self, conditions: Conditions | None) -> None:
        """Read samples for these from now on, whatever a Trainer says; None goes by the Trainer again."""
        self._served = conditions

    @property
    def seed(self) -> int:
        """The seed in use."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0)) if self._seed is None else self._seed

    def training_loader(self, samples: Samples, indices: Indices, in_memory: bool = False) -> ResumableLoader:
        """All of `indices` once an epoch, in a new order each epoch."""
        told = self.conditions
        order = self.training_order(indices, told.rank, told.world_size, told.shuffle)
        return self._loader(samples, order, in_memory, start=self._batches_done)

    def training_order(self, indices: Indices, rank: int, world_size: int, shuffle: bool) -> Order:
        """Which samples come in which batch; a subclass may group them otherwise."""
        return TrainingOrder(indices, self.batch_size, self.seed, rank, world_size, shuffle, self.drop_last)

    def evaluation_loader(
        self, samples: Samples, indices: Indices, split: str, in_memory: bool = False
    ) -> ResumableLoader:
        """Each of `indices` exactly once over all ranks, in order.

        Raises:
            ValueError: when there are no samples, or fewer than processes.
        """
        told = self.conditions
        if len(indices) == 0:
            raise ValueError(f"there are no samples in the {split} split")
        if len(indices) < told.world_size:
            raise ValueError(
                f"the {split} split has {len(indices)} samples, fewer than the {told.world_size} processes: "
                "use fewer devices"
            )
        return self.ordered_loader(samples, indices, told.rank, told.world_size, epoch=0, in_memory=in_memory)

    def ordered_loader(
        self, samples: Samples, indices: Indices, rank: int, world_size: int, epoch: int, in_memory: bool = False
    ) -> ResumableLoader:
        """Every `world_size`-th of `indices` from `rank` on, with the randomness of a fixed epoch."""
        order = EvaluationOrder(indices, self.eval_batch_size or 2 * self.batch_size, rank, world_size)
        return self._loader(samples, order, in_memory, epoch=epoch)

    def _loader(self, samples: Samples, order: Order, in_memory: bool, **options: Any) -> ResumableLoader:
        told, workers = self.conditions, self.num_workers
        if workers is None:
            workers = 0 if in_memory else available_workers(told.local_world_size)
        return ResumableLoader(samples, order, self.seed, workers, told.device.type == "cuda", **options)

    def _batches_done(self, loader: ResumableLoader) -> int:
        """Batches of this epoch that the run had done when it was stopped, by Lightning's own counter."""
        if self.trainer is None or self.trainer.train_dataloader is not loader:
            return 0  # someone else's pass over the data
        return self.trainer.fit_loop.batch_idx + 1
