"""A loader whose epochs can be repeated, and continued from any batch, bit for bit."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from datamodules.loading.orders import Indices, Order
from datamodules.loading.reading_processes import end_with_parent, reading_context
from datamodules.loading.seeding import mix, seed_all_generators, seed_generators
from lightning_tl.compat.for_torch import end_workers
from lightning_tl.contracts.notice import Notice


@runtime_checkable
class Samples(Protocol):
    """Samples that are read a batch at a time; all randomness is a function of the epoch and each sample's index."""

    def fetch(self, indices: Indices, epoch: int) -> Any:
        """The collated batch of these samples."""
        ...


class SeededItems:
    """Makes `Samples` of an ordinary dataset: the global generators are seeded for each item before it is read.

    Args:
        dataset: `dataset[index]` is one sample; it may draw from torch, NumPy and Python generators.
        collate: joins a list of samples.
    """

    def __init__(self, dataset: Any, seed: int, collate: Callable[[list[Any]], Any] = default_collate) -> None:
        self.dataset, self.seed, self.collate = dataset, seed, collate

    def fetch(self, indices: Indices, epoch: int) -> Any:
        """The items of one batch, each drawn with a seed of its own."""
        items = []
        for index in indices.tolist():
            seed_generators(mix(self.seed, "item", epoch, index))
            items.append(self.dataset[index])
        return self.collate(items)


class _Fetching(Dataset[Any]):
    """A torch dataset whose "items" are whole batches: the key carries the epoch, so persistent workers follow it."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, key: tuple[int, Indices]) -> Any:
        epoch, indices = key
        return self.samples.fetch(indices, epoch)


class ResumableLoader:
    """Batches of an `Order`, read from `Samples`, for a Lightning Trainer.

    Nothing starts before the first `next()`: by then Lightning has restored its loops and told the epoch, and `start`
    can say how many batches of this epoch are done. Right before a batch is handed out the generators of this process
    are seeded from (seed, epoch, batch number, rank), so dropout too repeats in a resumed run and no generator state
    has to be saved. It is no `DataLoader`, so Lightning does not rebuild it with a sampler of its own.

    Args:
        samples: where batches come from; wrap an ordinary dataset in `SeededItems`.
        order: `TrainingOrder` or `EvaluationOrder`.
        seed: of the randomness in this process; the order and the samples have their own.
        num_workers: processes that read ahead, kept over the epochs; 0 reads in this process.
        pin_memory: put batches in page-locked memory for the way to a GPU.
        epoch: stay with this epoch, as evaluation does; None follows the Trainer.
        start: called as `start(loader)` at the first `next()` of each epoch, says how many batches to leave out.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        samples: Samples,
        order: Order,
        seed: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        epoch: int | None = None,
        start: Callable[[ResumableLoader], int] | None = None,
    ) -> None:
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.samples, self.order, self.seed = samples, order, seed
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self._fixed = epoch is not None
        self.epoch = epoch or 0
        self._start = start
        self._keys: list[tuple[int, Indices]] = []
        self._reader: DataLoader[Any] | None = None

    @property
    def batch_size(self) -> int:
        """Samples in a batch of this process."""
        return self.order.batch_size

    @property
    def sampler(self) -> ResumableLoader:
        """This loader: Lightning calls `loader.sampler.set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        if not self._fixed:
            self.epoch = epoch

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Any]:
        # A generator: all of this runs at the first next(), not when Lightning calls iter() in its set-up.
        first = self._start(self) if self._start is not None else 0
        epoch, rank = self.epoch, self.order.rank
        self._keys[:] = [(epoch, indices) for indices in self.order.batches(epoch)[first:]]
        for number, batch in enumerate(self._read(), first):
            seed_all_generators(mix(self.seed, "batch", epoch, number, rank))
            yield batch

    def _read(self) -> DataLoader[Any]:
        if self._reader is None:
            # Libraries that a fork may leave locked, as GDAL, ask for processes without their past by `clean_workers`.
            clean = getattr(self.samples, "clean_workers", False)
            self._reader = DataLoader(
                _Fetching(self.samples),
                batch_size=None,
                sampler=self._keys,
                num_workers=self.num_workers,
                persistent_workers=self.num_workers > 0,
                multiprocessing_context=reading_context(clean) if self.num_workers else None,
                worker_init_fn=end_with_parent if clean else None,
                pin_memory=self.pin_memory,
                generator=torch.Generator().manual_seed(self.seed % 2**63),  # else it draws from the global one
            )
            weakref.finalize(self, _end_workers, self._reader, os.getpid())
        return self._reader

    def state_dict(self) -> dict[str, int]:
        """What has to be the same for a resumed run to go on exactly; Lightning puts it in the checkpoint."""
        samples = len(self.order.indices)
        return {"seed": self.seed, "samples": samples, "batch_size": self.batch_size, "batches": len(self)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Warn when the checkpoint's run had other batches: the run then goes on, but not as it would have."""
        mine = self.state_dict()
        other = [f"{name} was {old} and is {mine[name]}" for name, old in state_dict.items() if mine.get(name) != old]
        if other:
            warnings.warn(
                f"the checkpoint comes from a run with other batches ({', '.join(other)}): training goes on at "
                "the same batch number, but not exactly as that run would have; resume with the same settings for that",
                stacklevel=2,
                category=Notice,
            )


def _end_workers(reader: DataLoader[Any], owner: int) -> None:
    """End the reading processes of a loader that is no longer used.

    Python's garbage collector would take down the queues to the workers before torch's own clean-up can tell them to
    end, which then waits five seconds for each.
    """
    end_workers(reader, os.getpid() == owner)  # a copy in a forked process must not touch the originals


def available_workers(processes: int = 1, most: int = 8) -> int:
    """Reading processes for each of `processes` training processes on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(most, cores // max(1, processes)))
