"""`ClassificationDataModule`: the base of every labelled data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from datamodules.labelled.fingerprint import fingerprint
from datamodules.labelled.labelled_targets import LabelledTargets
from datamodules.labelled.records import SPLITS, Records
from datamodules.labelled.records_of_a_run import absent_classes, changed_since, split_counts, with_classes_of
from datamodules.labelled.stratified import FewLabels
from datamodules.labelled.targets import check_targets
from datamodules.loading.loading import ResumableLoader, Samples
from datamodules.loading.orders import Indices, Order
from datamodules.loading.resumable_data import ResumableDataModule
from lightning_tl.contracts.run_description import RunDescription, input_fields

R = TypeVar("R", bound=Records)
Split = Literal["train", "validation", "test", "predict"]


class ClassificationDataModule(ResumableDataModule, LabelledTargets, ABC, Generic[R]):
    """Labelled samples in training, validation and test; a subclass says which, and how a batch of them is made.

    Args:
        label_fraction: share of the labels to use, class by class, in training and validation.
        labels_per_class: labels of each class to use in training, and in proportion in validation.
        predict_split: what `predict` runs on; default the samples without labels, or where all have one the test's.
        **loading: batch sizes, workers and seed, see `ResumableDataModule`.
    """

    noun = "samples"  # in messages
    labelled = True  # set to False before samples are read: labels play no part, and data without any will do

    def __init__(
        self,
        label_fraction: float | None = None,
        labels_per_class: int | None = None,
        predict_split: Split | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.few_labels = FewLabels(label_fraction, labels_per_class, self.noun)
        self.predict_split = predict_split
        self.class_names: tuple[str, ...] = ()
        self.indices: dict[str, Indices] = {}
        self.run: RunDescription | None = None  # whose model reads the samples; None where one is being trained
        self.whole = False  # the samples are new to that run: all of them are read
        self.notes: list[str] = []  # on what was read, for the user
        self._records: R | None = None
        self.dropped: dict[str, int] = {}  # samples that were left out, by reason
        self._told = 0  # of the notes
        self._stage: str | None = None  # that `setup` was last called for

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

    def check_records(self, records: R, indices: dict[str, Indices]) -> None:
        """Refuse samples of which nothing can be learned, by ValueError, and note what cannot be learned of them."""
        check_targets(records, indices, self.noun, self.source)

    @property
    def source(self) -> str:
        """Where the samples come from, for messages."""
        return type(self).__name__

    # ---------------------------------------------------------------- what strategies, callbacks and reports ask

    @property
    def records(self) -> R:
        """All samples with their labels and splits."""
        if self._records is None:
            self._records = self._read()
        return self._records

    def _read(self) -> R:
        return self.read_records() if self.labelled else self.read_unlabelled()

    @property
    def has_test(self) -> bool:
        """Whether there are samples to test on, once `setup` has run."""
        return len(self.indices["test"]) > 0

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

    def read_for(self, run: RunDescription, whole: bool = False) -> None:
        """See `DataOfARun`: classes are the run's, matched by name; what only training needs is not asked for.

        Of data that are not the run's own (`whole`) all are read, but where `test` or `validate` finds some marked for
        it.
        """
        self.run, self.whole = run, whole
        self.indices, self._records = {}, None
        self.notes, self.dropped, self._told = [], {}, 0

    def setup(self, stage: str | None = None) -> None:
        if self.run is not None and stage != self._stage:
            self.read_for(self.run, self.whole)
        self._stage = stage
        if not self.indices:
            if self.run is None or not self.run.class_names or stage in (None, "fit"):
                self._set_up_training()
            elif stage == "predict":
                self._set_up_prediction()
            else:
                self._set_up_scoring("validation" if stage == "validate" else "test")
        self._plain, self._training = self.configure_samples()
        self.notes = list(dict.fromkeys(self.notes))
        for note in self.notes[self._told :]:
            rank_zero_info(note)
        self._told = len(self.notes)

    def _set_up_training(self) -> None:
        records = self.records
        if self.run is not None and self.run.class_names:  # a run that goes on
            self._records = records = with_classes_of(self.run, records, np.arange(len(records.ids)), self.source)
        indices = self.usable(self._by_split())
        self.check_records(records, indices)
        self.indices, self.class_names = self._with_few_labels(indices), records.class_names
        self.notes += changed_since(self.run, records, self.indices, self.source, self.noun)
        if not self.has_test:
            self.notes.append(f"{self.source} has no {self.noun} to test on: the run ends with the best model untested")

    def _set_up_prediction(self) -> None:
        """All samples of new data, without a look at labels; of the run's own the predict split, or the test's."""
        assert self.run is not None
        new = self.read_new()
        if new is not None:
            self._records = new
            wanted = {"predict": np.arange(len(new.ids))}
        else:
            everything = self._by_split()
            split = self._to_predict(everything)
            self._records = with_classes_of(self.run, self.records, everything[split], self.source)
            wanted = {split: everything[split]}
            self.notes.append(f"those of the run's own {split} split are predicted: {len(wanted[split]):,} {self.noun}")
        self._use(self.usable(wanted))

    def _to_predict(self, indices: dict[str, Indices]) -> str:
        """The split that `predict` runs on."""
        if self.predict_split is not None and (self.run is None or len(indices[self.predict_split])):
            return self.predict_split
        return next((split for split in ("predict", "test") if len(indices[split])), "validation")

    def read_new(self) -> R | None:
        """Samples to predict that are not the run's own; None where there are none but these."""
        return self.read_unlabelled() if self.whole else None

    def _set_up_scoring(self, split: str) -> None:
        assert self.run is not None
        records, chosen = self.records, self._by_split()[split]
        if self.whole and len(chosen) == 0:
            chosen = np.flatnonzero(records.labelled)
            if len(chosen) == 0:
                raise ValueError(f"{self.source} has no labels to score against; predict --run writes predictions")
        if len(chosen) == 0:
            raise ValueError(f"{self.source} has no labels in its {split} split; predict --run writes predictions")
        if self.whole:
            part = "all" if len(chosen) == len(records.ids) else f"those of its {split} split, or with a label"
            self.notes.append(f"{len(chosen):,} {self.noun} of {self.source} are scored: {part}")
        self._records = with_classes_of(self.run, records, chosen, self.source)
        self._use(self.usable({split: chosen}))
        self.notes += absent_classes(self._records, self.indices[split], self.noun)
        same = {} if self.whole or split != "test" else {split: self.indices[split]}
        self.notes += changed_since(self.run, self._records, same, self.source, self.noun)

    def _use(self, wanted: dict[str, Indices]) -> None:
        assert self.run is not None
        self.indices = {**dict.fromkeys((*SPLITS, "predict"), np.zeros(0, np.int64)), **wanted}
        self.class_names = self.run.class_names

    def describe(self) -> dict[str, Any]:
        """See `DescribedData`."""
        return {
            "input": input_fields(getattr(self, "input_spec", None)),
            "columns": self.described_columns(),
            "splits": split_counts(self.records, self.indices),
            "dropped": self.dropped,
            "data": {
                "class": f"{type(self).__module__}.{type(self).__qualname__}",
                "source": self.source,
                "train_sha256": self.fingerprint(self.indices["train"]),
            },
        }

    def described_columns(self) -> dict[str, Any]:
        """Which columns or folders were read as what; nothing by default."""
        return {}

    def _by_split(self) -> dict[str, Indices]:
        splits = self.records.splits
        return {split: np.flatnonzero(splits == split) for split in (*SPLITS, "predict")}

    def _with_few_labels(self, indices: dict[str, Indices]) -> dict[str, Indices]:
        records, parts = self.records, (indices["train"], indices["validation"])
        train, validation = self.few_labels.choose(*parts, records.labels, records.class_names, self.seed)
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
        return self._evaluation(self._to_predict(self.indices))

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

        View 0 is the samples as they are; 1, 2, … are numbered draws of those to train on. See `CacheableData`.
        """
        if view < 0:
            raise ValueError(f"view must be at least 0, got {view}")
        # Negative epochs never occur in training, so cached views are draws of their own.
        indices, samples = self.reading_order(self.indices[split]), self._training if view else self._plain
        return self.ordered_loader(samples, indices, rank, world_size, -view, self.in_memory)
