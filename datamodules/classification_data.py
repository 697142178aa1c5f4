"""`ClassificationDataModule`: the base of every labelled data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.fingerprint import fingerprint
from datamodules.loading import ResumableLoader, Samples
from datamodules.orders import Indices, Order
from datamodules.records import SPLITS, Records, check_classes
from datamodules.resumable_data import ResumableDataModule
from datamodules.stratified import FewLabels

R = TypeVar("R", bound=Records)
Split = Literal["train", "validation", "test", "predict"]


class ClassificationDataModule(ResumableDataModule, ABC, Generic[R]):
    """Labelled samples in training, validation and test; a subclass says which, and how a batch of them is made.

    Args:
        label_fraction: share of the labels to use, class by class, in training and validation.
        labels_per_class: labels of each class to use in training, and in proportion in validation.
        predict_split: what `predict` runs on.
        **loading: batch sizes, workers and seed, see `ResumableDataModule`.
    """

    noun = "samples"  # what they are called in messages
    labelled = True  # set to False before samples are read: labels play no part, and data without any will do

    def __init__(
        self,
        label_fraction: float | None = None,
        labels_per_class: int | None = None,
        predict_split: Split = "test",
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.few_labels = FewLabels(label_fraction, labels_per_class, self.noun)
        self.predict_split = predict_split
        self.class_names: tuple[str, ...] = ()
        self.indices: dict[str, Indices] = {}
        self._records: R | None = None

    # ---------------------------------------------------------------- what subclasses change

    @abstractmethod
    def read_records(self) -> R:
        """Find out which samples there are, with labels and splits. Called once, before training."""

    def read_unlabelled(self) -> R:
        """The same where `labelled` is False; a subclass whose data may come without labels says how to read it."""
        return self.read_records()

    @abstractmethod
    def configure_samples(self) -> tuple[Samples, Samples]:
        """What makes batches: of the samples as they are, and of those to train on."""

    def usable(self, indices: dict[str, Indices]) -> dict[str, Indices]:
        """The samples of each split that can be used; all by default."""
        return indices

    def target(self, index: int) -> Tensor | int:
        """What is to be learned of a sample: its class number, or [num_classes] of 0.0 and 1.0 for several labels."""
        return int(self.records.labels[index])

    # ---------------------------------------------------------------- what strategies, callbacks and reports ask

    @property
    def records(self) -> R:
        """All samples with their labels and splits."""
        if self._records is None:
            self._records = self.read_records() if self.labelled else self.read_unlabelled()
        return self._records

    @property
    def num_classes(self) -> int:
        """Number of classes, once `setup` has run."""
        return len(self.class_names)

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """Stable names of samples."""
        return [self.records.ids[int(index)] for index in indices]

    def blocks(self, indices: Sequence[int]) -> NDArray[np.int64] | None:
        """The block each sample lies in, where samples of one block resemble each other; None when independent."""
        blocks = self.records.blocks
        return None if blocks is None else blocks[np.asarray(indices, dtype=np.int64)]

    # ---------------------------------------------------------------- set-up

    def setup(self, stage: str | None = None) -> None:
        if not self.indices:
            records = self.records
            indices = self.usable(self._by_split())
            check_classes(records, indices, self.noun)
            self.indices, self.class_names = self._with_few_labels(indices), records.class_names
        self._plain, self._training = self.configure_samples()

    def _by_split(self) -> dict[str, Indices]:
        splits = self.records.splits
        return {split: np.flatnonzero(splits == split) for split in (*SPLITS, "predict")}

    def _with_few_labels(self, indices: dict[str, Indices]) -> dict[str, Indices]:
        records = self.records
        train, validation = self.few_labels.choose(
            indices["train"], indices["validation"], records.labels, records.class_names, self.seed
        )
        return {**indices, "train": train, "validation": validation}

    def setup_reading(self, split: Split | None = None) -> Indices:
        """In place of `setup`, where samples are read for something other than their labels.

        Args:
            split: as in training; None for all samples there are.

        Returns:
            the numbers of the samples to read, in the order of the data; labels that training leaves out count.
        """
        indices = self.usable(self._by_split())
        # What training has, because statistics of its samples may decide how all are read.
        self.indices = self._with_few_labels(indices) if self.records.class_names else indices
        self._plain, self._training = self.configure_samples()
        return indices[split] if split is not None else np.sort(np.concatenate(list(indices.values())))

    # ---------------------------------------------------------------- loaders

    @property
    def in_memory(self) -> bool:
        """Whether batches are made from memory alone, so that reading ahead in other processes gains nothing."""
        return True

    def train_dataloader(self) -> ResumableLoader:
        return self.training_loader(self._training, self.indices["train"], self.in_memory)

    def reading_order(self, indices: Indices) -> Indices:
        """The order in which samples are read where any will do."""
        return indices

    def _evaluation(self, split: str) -> ResumableLoader:
        return self.evaluation_loader(self._plain, self.reading_order(self.indices[split]), split, self.in_memory)

    def val_dataloader(self) -> ResumableLoader:
        return self._evaluation("validation")

    def test_dataloader(self) -> ResumableLoader:
        return self._evaluation("test")

    def predict_dataloader(self) -> ResumableLoader:
        return self._evaluation(self.predict_split)

    def lengths(self, indices: Indices) -> Indices:
        """How long each sample is, [n], for batches of about the same amount of work; 1 each by default."""
        return np.ones(len(indices), np.int64)

    def fingerprint(self, indices: Indices) -> str:
        """A hash that changes with these samples, and with how they are read, once `setup` has run."""
        return fingerprint(self.records, indices, getattr(self, "input_spec", None))

    def reading_loader(self, order: Order) -> ResumableLoader:
        """The samples as they are, in batches of the caller's choice."""
        return self._loader(self._plain, order, self.in_memory, epoch=0)

    def cache_size(self, split: str) -> int:
        """How many samples `cache_loader` serves over all ranks."""
        return len(self.indices[split])

    def cache_loader(self, split: str, view: int, rank: int, world_size: int) -> ResumableLoader:
        """Batches of a split, in the same order for every view, for keeping a frozen backbone's features.

        Args:
            view: 0 for the samples as they are, 1, 2, … for that numbered draw of those to train on.
            rank: this process reads every `world_size`-th sample from `rank` on.
        """
        if view < 0:
            raise ValueError(f"view must be at least 0, got {view}")
        samples = self._training if view else self._plain
        # Negative epochs never occur in training, so cached views are draws of their own.
        indices = self.reading_order(self.indices[split])
        return self.ordered_loader(samples, indices, rank, world_size, -view, self.in_memory)
