"""`TextDataModule`: labelled texts from a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.labelled.classification_data import ClassificationDataModule
from datamodules.labelled.equal_samples import equal_notes, text_key
from datamodules.labelled.fingerprint import fingerprint
from datamodules.labelled.labels import split_names
from datamodules.labelled.records import unknown_labels
from datamodules.labelled.stratified import check_fractions, grouped_split
from datamodules.labelled.target_columns import TargetColumns, TaskOption
from datamodules.labelled.unlabelled_rows import unlabelled_rows
from datamodules.loading.orders import Indices
from datamodules.tables.tables import check_column, check_columns, row_list, row_names
from datamodules.texts.text_records import TextRecords
from datamodules.texts.text_rows import OnEmptyText
from datamodules.texts.text_samples import TextSamples
from datamodules.texts.text_sources import SPLIT
from datamodules.texts.tokenised_texts import REVIEWS, Texts, TokenisedTexts
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.contracts.run_description import RunDescription, input_fields

__all__ = ["REVIEWS", "TextDataModule"]


class TextDataModule(TokenisedTexts, ClassificationDataModule[TextRecords]):
    """Texts with labels, from a table of yours; without `path`, the reviews of clothing that ship with the project.

    Texts are tokenised once with the backbone's own tokenizer and kept, memory-mapped, in the cache of Hugging Face
    datasets (`HF_HOME`). Batches hold texts of about the same length and are padded to their longest. A sample's batch
    in an epoch depends on (seed, epoch, rank) only, so a run can be continued exactly.

    Args:
        path: a `.csv`, `.tsv`, `.jsonl` or `.parquet` file; a folder with such files named `train`, `validation` and
            `test`; or a data set of the Hugging Face hub, `owner/name` or `owner/name:configuration`.
        text: the column of texts; or two columns, for pairs.
        label: the column of labels: names, or whole numbers; default `label`, of the reviews `department`. Several
            columns are labels of 0 and 1, or with `task` regression values.
        task: what `label` holds: "classification", one label a text, the default for one column; "multi-label", any
            number of them, as columns of 0 and 1 (the default for several columns) or as lists in one; "regression",
            numbers to predict.
        label_delimiter: between the labels of a cell, where a column of several labels has texts and not lists.
        split: the column of splits ("train", "validation", "test"); where the table has none, texts are split class by
            class, equal texts (of pairs: first texts) on one side.
        id: the column of names of samples; default the number of the row.
        block: the column of groups of similar texts (an author, a product); only used for confidence intervals.
        class_names: the classes in the order of their numbers; default all labels, sorted.
        validation_fraction: share of each class for validation, without a column of splits.
        test_fraction: share of each class for the test, without a column of splits; may be 0.
        split_seed: of that split; apart from `seed`, so that runs with other seeds are tested on the same texts.
        max_length: most tokens of a text, special tokens included; default the backbone's.
        on_empty_text: what to do with rows without text: "error", or "skip" and say how many.
        length_grouped: batches of texts of about the same length; False shuffles without a look at lengths.
        cache: folder of kept tokens.
        batch_size: training texts in a batch, for each device.
        **options: few labels, workers and seed, see `ClassificationDataModule` and `ResumableDataModule`.
    """

    noun = "texts"

    def __init__(
        self,
        path: FileOrName | None = None,
        text: str | list[str] = "text",
        label: str | list[str] | None = None,
        split: str = SPLIT,
        id: str | None = None,
        block: str | None = None,
        class_names: Sequence[str] | None = None,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        max_length: int | None = None,
        on_empty_text: OnEmptyText = "error",
        length_grouped: bool = True,
        cache: str | Path | None = None,
        batch_size: int = 32,
        task: TaskOption | None = None,
        label_delimiter: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        check_fractions(validation_fraction, test_fraction)
        self.take_text_options(path, text, on_empty_text, max_length, length_grouped, cache)
        shipped = path is None
        self.label, self._own_label = label or ("department" if shipped else "label"), label is not None
        self.split, self.id = split, id or ("id" if shipped else None)
        self.block = block or ("clothing_id" if shipped else None)
        self.wanted_classes = None if class_names is None else tuple(class_names)
        self._as_task = task, self.wanted_classes, label_delimiter
        self.target_columns()  # so that options that do not go together are told at once
        self.validation_fraction, self.test_fraction, self.split_seed = validation_fraction, test_fraction, split_seed

    # ---------------------------------------------------------------- which texts there are

    def read_for(self, run: RunDescription, whole: bool = False) -> None:
        """See `DataOfARun`."""
        super().read_for(run, whole)
        if whole and not self._own_label:
            self.label = run.columns.get("label") or self.label

    def target_columns(self) -> TargetColumns:
        """Which columns hold the targets, and as what they are read."""
        return TargetColumns(self.label, *self._as_task)

    @property
    def source(self) -> str:
        """Where the samples come from, for messages."""
        return self.path

    def described_columns(self) -> dict[str, Any]:
        """See `ClassificationDataModule`."""
        names = {"text": list(self.text), "label": self.label, "split": self.split, "id": self.id, "block": self.block}
        return {"path": self.path, **names}

    def describe(self) -> dict[str, Any]:
        """See `DescribedData`."""
        used = np.concatenate(list(self.indices.values()))
        cut = int(self.tokens.cut[used].sum())
        return {**super().describe(), "input": input_fields(self.spec), "cut": cut}

    def read_records(self) -> TextRecords:
        """See `ClassificationDataModule`."""
        table = self._table()
        ids = self._ids(table)
        columns = self.target_columns()
        hidden, told = unlabelled_rows(table, columns.never_empty(), self.split, self.path)
        self.notes += told
        known = np.flatnonzero(~hidden)
        read, names = columns.read(table.iloc[known], [ids[k] for k in known], self.path, self.run is None)
        labels = unknown_labels(read, len(table))
        labels[known] = read
        texts, seconds = self.texts_of(table)
        splits = self._splits(table, texts, labels, names, hidden)
        if self.run is None:
            keys = dict(
                enumerate(
                    map(text_key, zip(texts, strict=True) if seconds is None else zip(texts, seconds, strict=True))
                )
            )
            self.notes += equal_notes(ids, splits, labels, keys, "texts")
        return TextRecords(
            ids=ids,
            labels=labels,
            splits=splits,
            class_names=names,
            blocks=pd.factorize(table[self.block])[0].astype(np.int64) if self.block in table else None,
            texts=texts,
            seconds=seconds,
        )

    def _splits(
        self, table: pd.DataFrame, texts: list[str], labels: Any, names: Sequence[str], hidden: Any
    ) -> NDArray[np.str_]:
        """As the table says; what it does not say is parted by the texts themselves."""
        validation, test = self.validation_fraction, self.test_fraction
        if self.split in table:
            splits = split_names(table[self.split], self.path).astype("<U10")
            free = splits == "train"
            if self.whole or not free.any() or (splits == "validation").any():
                return np.where(hidden, "predict", splits)
            test = test if not (splits == "test").any() else 0.0
            part = "validation and test are" if test else "validation is"
            self.notes.append(f"{self.path} has no rows for validation: {part} taken from training")
        else:
            splits, free = np.full(len(table), "test", dtype="<U10"), ~hidden
            if self.whole:
                return splits
        chosen = np.flatnonzero(free)
        how = validation, test, self.split_seed
        splits[chosen] = grouped_split([texts[k] for k in chosen], labels[chosen], names, *how, notes=self.notes)
        return np.where(hidden, "predict", splits)

    def read_unlabelled(self) -> TextRecords:
        """See `ClassificationDataModule`."""
        table = self._table(labelled=False)
        there = [name for name in self.target_columns().names if name in table]
        if self.run is not None and there:
            told, verb = f"{' and '.join(map(repr, there))} of {self.path}", "is" if len(there) == 1 else "are"
            self.notes.append(f"{told} {verb} not looked at: test, in place of predict, scores it")
        texts, seconds = self.texts_of(table)
        return TextRecords(
            ids=self._ids(table),
            labels=np.full(len(table), -1, dtype=np.int64),
            splits=np.full(len(table), "predict"),
            class_names=(),
            texts=texts,
            seconds=seconds,
        )

    def _ids(self, table: pd.DataFrame) -> list[str]:
        return [str(name) for name in table[self.id]] if self.id in table else row_names(table)

    def _table(self, labelled: bool = True) -> pd.DataFrame:
        """The rows that can be used, numbered as in the file."""
        table, without = self.read_rows()
        if without:
            self.dropped["rows without text"] = without
        named = {"id": self.id, "block": self.block, "split": None if self.split == SPLIT else self.split}
        columns = self.target_columns()
        self.notes += table.attrs.get("notes", [])
        wanted: dict[str, str] = {}
        for argument, name in columns.asked().items() if labelled else ():
            check_column(table, argument, name, self.path)
        if not self.whole:  # a table that is new to a run need not have what only tells rows apart or parts them
            part = named if labelled else {"id": self.id}
            wanted |= {name: column for name, column in part.items() if column is not None}
        elif self.id is not None and self.id not in table:
            self.notes.append(f"{self.path} has no column '{self.id}': rows are named by their numbers")
        check_columns(table, wanted, self.path)
        if self.id in table and (again := table[self.id].duplicated()).any():
            rows = row_list(table, np.flatnonzero(again))
            raise ValueError(f"{self.id} of {self.path} must name every row differently; named again: {rows}")
        return table

    # ---------------------------------------------------------------- how batches are made

    @property
    def text_pairs(self) -> Texts:
        """See `TokenisedTexts`."""
        return self.records.texts, self.records.seconds

    def prepare_data(self) -> None:
        """Tokenise in one process, before all ranks read what it kept."""
        if self.run is None:  # else `setup` knows which texts are meant
            _ = self.tokens

    def configure_samples(self) -> tuple[TextSamples, TextSamples]:
        """See `ClassificationDataModule`."""
        samples = self.text_samples(self.targets())
        self.say_what_was_cut()
        return samples, samples

    def lengths(self, indices: Indices) -> Indices:
        """Tokens of each text, special ones included: [n]."""
        return self.tokens.lengths[indices]

    def fingerprint(self, indices: Indices) -> str:
        """A hash that changes with these samples, and with how they are read."""
        return fingerprint(self.records, indices, self.tokens.folder.name)  # named after the tokenizer, too
