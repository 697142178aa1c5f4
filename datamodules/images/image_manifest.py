"""Images listed in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.images.image_data import ImageDataModule
from datamodules.images.image_records import ImageRecords
from datamodules.labelled.labels import split_names
from datamodules.labelled.records import UNDIVIDED, listed, unknown_labels
from datamodules.labelled.stratified import MadeSplit, check_fractions
from datamodules.labelled.target_columns import TargetColumns, TaskOption
from datamodules.labelled.unlabelled_rows import unlabelled_rows
from datamodules.tables.tables import check_column, check_columns, read_table


class ManifestDataModule(ImageDataModule):
    """A CSV or Parquet table with a row for each image: its path, its label and, if you like, its split.

    Without a column of splits the images are parted by what they show and `split_seed`, equal ones to one side.

    Args:
        manifest: the table, `.csv`, `.tsv`, `.jsonl` or `.parquet`.
        root: folder that the paths are relative to; default the manifest's.
        path_column: name of the column of paths.
        label_column: name of the column of labels: class names, or class numbers. Several columns are labels of 0 and
            1, or with `task` regression values.
        split_column: name of the column of splits ("train", "validation", "test"); not needed.
        block_column: name of a column of numbers or names for groups of similar images (a place, a scene); only used
            for confidence intervals.
        class_names: the classes in the order of their numbers; default all labels, sorted.
        validation_fraction: share of each class for validation, without a column of splits.
        test_fraction: share of each class for the test, without a column of splits; may be 0.
        split_seed: of that split; apart from `seed`, so that runs with other seeds are tested on the same images.
        task: what `label_column` holds: "classification", one label an image, the default for one column;
            "multi-label", any number of them, as columns of 0 and 1 (the default for several columns) or as lists in
            one; "regression", numbers to predict.
        label_delimiter: between the labels of a cell, where a column of several labels has texts and not lists.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        manifest: str | Path,
        root: str | Path | None = None,
        path_column: str = "path",
        label_column: str | list[str] = "label",
        split_column: str = "split",
        block_column: str | None = None,
        class_names: Sequence[str] | None = None,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        task: TaskOption | None = None,
        label_delimiter: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_fractions(validation_fraction, test_fraction)
        self.manifest = Path(manifest)
        self.root = self.manifest.parent if root is None else Path(root)
        self.path_column, self.label_column, self.split_column = path_column, label_column, split_column
        self.block_column = block_column
        self.wanted_classes = None if class_names is None else tuple(class_names)
        self.target_columns = TargetColumns(label_column, task, self.wanted_classes, label_delimiter)
        self.validation_fraction, self.test_fraction, self.split_seed = validation_fraction, test_fraction, split_seed

    @property
    def source(self) -> str:
        """Where the samples come from, for messages."""
        return str(self.manifest)

    def described_columns(self) -> dict[str, Any]:
        """See `ClassificationDataModule`."""
        return {
            "manifest": str(self.manifest.resolve()),
            "path": self.path_column,
            "label": self.label_column,
            "split": self.split_column,
            "block": self.block_column,
        }

    def read_unlabelled(self) -> ImageRecords:
        """Every row, in the table's order, without a look at labels and splits."""
        table = self._table(labelled=False)
        ids, paths = self._files(table)
        none = np.full(len(ids), -1, dtype=np.int64)
        return ImageRecords(ids=ids, labels=none, splits=np.full(len(ids), "predict"), class_names=(), paths=paths)

    def is_sample(self, path: Path) -> bool:
        """Whether a path of the table leads to an image."""
        return path.is_file()

    def _files(self, table: pd.DataFrame) -> tuple[list[str], list[Path]]:
        ids = [str(path) for path in table[self.path_column]]
        paths = [self.root / path for path in ids]
        missing = [path for path in paths if not self.is_sample(path)]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(paths)} files in {self.manifest} are not there: {listed(missing)}; "
                f"paths are relative to {self.root} (set root to change that)"
            )
        twice = table[table.duplicated(self.path_column)][self.path_column].unique().tolist()
        if twice:
            raise ValueError(
                f"{len(twice)} images are listed more than once in {self.manifest}, which would mix the splits: "
                f"{listed(twice)}"
            )
        return ids, paths

    def read_records(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        table = self._table()
        ids, paths = self._files(table)
        where = str(self.manifest)
        columns = self.target_columns
        hidden, told = unlabelled_rows(table, columns.never_empty(), self.split_column, where)
        self.notes += told
        known = np.flatnonzero(~hidden)
        read, names = columns.read(table.iloc[known], [ids[k] for k in known], where, self.run is None)
        labels = unknown_labels(read, len(table))
        labels[known] = read
        if self.split_column in table:
            splits = split_names(table[self.split_column], where)
        else:
            self.made_split = MadeSplit(self.validation_fraction, self.test_fraction, self.split_seed)
            splits = np.full(len(ids), UNDIVIDED)
        splits = self._with_validation(np.where(hidden, "predict", splits))
        blocks = None
        if self.block_column is not None and self.block_column in table:
            blocks = pd.factorize(table[self.block_column])[0].astype(np.int64)
        return ImageRecords(ids=ids, labels=labels, splits=splits, class_names=names, paths=paths, blocks=blocks)

    def _with_validation(self, splits: NDArray[np.str_]) -> NDArray[np.str_]:
        """Where the table has none, validation is taken from training, and so is a test where there is nothing else."""
        if self.whole or (splits == "validation").any() or not (splits == "train").any():
            return splits
        test = 0.0 if {"test", "predict"} & set(splits) else self.test_fraction
        part = "validation and test are" if test else "validation is"
        self.notes.append(f"{self.manifest} has no rows for validation: {part} taken from training")
        self.made_split = MadeSplit(self.validation_fraction, test, self.split_seed)
        return np.where(splits == "train", UNDIVIDED, splits)

    def _table(self, labelled: bool = True) -> pd.DataFrame:
        table = read_table(self.manifest)
        wanted = {"path_column": self.path_column}
        columns = self.target_columns.asked("label_column") if labelled else {}
        for argument, name in columns.items():
            check_column(table, argument, name, self.manifest)
        if labelled and not self.whole and self.split_column != "split":  # asked for by name
            wanted["split_column"] = self.split_column
        if labelled and not self.whole and self.block_column is not None:
            wanted["block_column"] = self.block_column
        check_columns(table, wanted, self.manifest)
        return table
