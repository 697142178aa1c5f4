"""Images listed in a table."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.image_data import ImageDataModule
from datamodules.image_records import ImageRecords, listed
from datamodules.stratified import check_fractions, stratified_split

_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class ManifestDataModule(ImageDataModule):
    """A CSV or Parquet table with a row for each image: its path, its label and, if you like, its split.

    Without a column of splits the images are split class by class, by their paths and `split_seed`.

    Args:
        manifest: the table, `.csv`, `.tsv` or `.parquet`.
        root: folder that the paths are relative to; default the manifest's.
        path_column: name of the column of paths.
        label_column: name of the column of labels: class names, or class numbers.
        split_column: name of the column of splits ("train", "validation", "test"); not needed.
        block_column: name of a column of numbers or names for groups of similar images (a place, a scene); only used
            for confidence intervals.
        class_names: the classes in the order of their numbers; default all labels, sorted.
        validation_fraction: share of each class for validation, without a column of splits.
        test_fraction: share of each class for the test, without a column of splits; may be 0.
        split_seed: of that split; apart from `seed`, so that runs with other seeds are tested on the same images.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        manifest: str | Path,
        root: str | Path | None = None,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str = "split",
        block_column: str | None = None,
        class_names: Sequence[str] | None = None,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_fractions(validation_fraction, test_fraction)
        self.manifest = Path(manifest)
        self.root = self.manifest.parent if root is None else Path(root)
        self.path_column, self.label_column, self.split_column = path_column, label_column, split_column
        self.block_column = block_column
        self.wanted_classes = None if class_names is None else tuple(class_names)
        self.validation_fraction, self.test_fraction, self.split_seed = validation_fraction, test_fraction, split_seed

    def read_records(self) -> ImageRecords:
        table = self._table()
        ids = [str(path) for path in table[self.path_column]]
        paths = [self.root / path for path in ids]
        missing = [path for path in paths if not path.is_file()]
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
        labels, names = self._labels(table, ids)
        once = [name for k, name in enumerate(names) if (labels == k).sum() == 1]
        if once:
            raise ValueError(
                f"{len(once)} labels occur only once in {self.manifest}: {listed(once)}; a class needs images in "
                "training and in validation. Add images, correct the labels, or drop the rows"
            )
        if self.split_column in table:
            splits = self._splits(table)
        else:
            splits = stratified_split(ids, labels, names, self.validation_fraction, self.test_fraction, self.split_seed)
        blocks = None
        if self.block_column is not None:
            blocks = pd.factorize(table[self.block_column])[0].astype(np.int64)
        return ImageRecords(ids, labels, splits, names, paths=paths, blocks=blocks)

    def _table(self) -> pd.DataFrame:
        if not self.manifest.is_file():
            raise FileNotFoundError(f"manifest {self.manifest} is not there")
        suffix = self.manifest.suffix.lower()
        if suffix == ".parquet":
            table = pd.read_parquet(self.manifest)
        elif suffix in (".csv", ".tsv"):
            table = pd.read_csv(self.manifest, sep="\t" if suffix == ".tsv" else ",")
        else:
            raise ValueError(f"a manifest must be a .csv, .tsv or .parquet file, got {self.manifest}")
        wanted = {"path_column": self.path_column, "label_column": self.label_column}
        if self.split_column != "split":  # asked for by name
            wanted["split_column"] = self.split_column
        if self.block_column is not None:
            wanted["block_column"] = self.block_column
        for argument, name in wanted.items():
            if name not in table:
                near = get_close_matches(name.lower(), [str(column).lower() for column in table], n=3, cutoff=0.4)
                nearest = [str(column) for column in table if str(column).lower() in near]
                hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
                raise ValueError(
                    f"{self.manifest} has no column '{name}'{hint} It has {', '.join(map(str, table))}; "
                    f"set {argument} to the right one"
                )
            empty = np.flatnonzero(table[name].isna())
            if len(empty):
                raise ValueError(f"{len(empty)} rows of {self.manifest} have no {name}: rows {listed(empty.tolist())}")
        if len(table) == 0:
            raise ValueError(f"{self.manifest} has no rows")
        return table

    def _labels(self, table: pd.DataFrame, ids: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Class numbers [n] and the names of the classes."""
        column = table[self.label_column]
        numbers = pd.to_numeric(column, errors="coerce")
        whole = bool((numbers.notna() & (numbers % 1 == 0)).all()) and not pd.api.types.is_bool_dtype(column)
        if whole and self.wanted_classes is not None and not set(map(str, column)) <= set(self.wanted_classes):
            labels = numbers.to_numpy(dtype=np.int64)
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self.wanted_classes)))
            if len(wrong):
                raise ValueError(
                    f"labels must be in 0…{len(self.wanted_classes) - 1} ({len(self.wanted_classes)} class_names), but "
                    f"{len(wrong)} rows of {self.manifest} are not: {labels[wrong[0]]} for {ids[wrong[0]]}"
                )
            return labels, self.wanted_classes
        if whole:
            labels = numbers.to_numpy(dtype=np.int64)
            values = np.unique(labels)
            names = tuple(str(value) for value in values)
            return np.searchsorted(values, labels).astype(np.int64), names
        texts = [str(value) for value in column]
        names = self.wanted_classes or tuple(sorted(set(texts)))
        unknown = sorted(set(texts) - set(names))
        if unknown:
            raise ValueError(f"{self.manifest} has labels that are not in class_names: {listed(unknown)}")
        place = {name: number for number, name in enumerate(names)}
        return np.array([place[text] for text in texts], dtype=np.int64), names

    def _splits(self, table: pd.DataFrame) -> NDArray[np.str_]:
        given = [str(value).strip().lower() for value in table[self.split_column]]
        unknown = sorted(set(given) - set(_SPLIT_NAMES))
        if unknown:
            raise ValueError(
                f"column '{self.split_column}' of {self.manifest} must hold train, validation or test, "
                f"got {listed(unknown)}"
            )
        return np.array([_SPLIT_NAMES[value] for value in given])
