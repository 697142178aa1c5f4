"""`TargetColumns`: what is learned, read from the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from numpy.typing import NDArray

from datamodules.labelled.label_lists import holds_lists, label_matrix, truth_matrix
from datamodules.labelled.labels import class_numbers
from datamodules.labelled.value_columns import value_matrix
from datamodules.tables.tables import rows_listed

TaskOption = Literal["classification", "multi-label", "regression"]
Found = tuple[NDArray[Any], tuple[str, ...]]


@dataclass(frozen=True)
class TargetColumns:
    """Which columns hold the targets, and as what they are read.

    Args:
        columns: one column, or several.
        task: what they hold; None takes several columns for labels of 0 and 1, and one column for one label a row.
        class_names: the classes in the order of their numbers; None for all labels, sorted.
        delimiter: between the labels of a cell, of several labels in one column.

    Raises:
        ValueError: options that do not go together.
    """

    columns: str | Sequence[str]
    task: TaskOption | None = None
    class_names: tuple[str, ...] | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.task not in (None, "classification", "multi-label", "regression"):
            raise ValueError(f"task must be classification, multi-label or regression, got '{self.task}'")
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"label must name one column or several different ones, got {list(self.names)}")
        if self.kind == "classification" and len(self.names) > 1:
            raise ValueError(
                f"classification learns one label, so label must be one column, got {', '.join(self.names)}; "
                "columns of 0 and 1 are read by task: multi-label"
            )
        if self.delimiter is not None and (self.kind != "multi-label" or len(self.names) > 1 or not self.delimiter):
            raise ValueError(
                "label_delimiter parts the labels of a cell: it goes with task: multi-label and one column of labels, "
                f"got '{self.delimiter}' with {self.kind} and {len(self.names)} column(s)"
            )
        if self.class_names is not None and (self.kind == "regression" or len(self.names) > 1):
            raise ValueError("class_names order the labels of one column; several columns and values have their own")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)

    @property
    def kind(self) -> TaskOption:
        """What they hold."""
        return self.task or ("multi-label" if len(self.names) > 1 else "classification")

    def asked(self, argument: str = "label") -> dict[str, str]:
        """The columns by the argument that asks for each, for `check_columns`."""
        if len(self.names) == 1:
            return {argument: self.names[0]}
        return {f"{argument}[{k}]": name for k, name in enumerate(self.names)}

    def may_be_empty(self) -> bool:
        """Whether a cell without content says something: that no label holds."""
        return self.kind == "multi-label" and len(self.names) == 1 and self.delimiter is not None

    def never_empty(self) -> tuple[str, ...]:
        """The columns in which an empty cell is a missing label."""
        return () if self.may_be_empty() else self.names

    def read(self, table: pd.DataFrame, ids: Sequence[str], where: str, to_train: bool = True) -> Found:
        """Labels [n] or [n, outputs], and the names of classes, labels or values.

        Args:
            table: a row for each sample.
            ids: names of the rows, for messages.
            where: the table, for messages.
            to_train: whether there must be enough of each class to train on.

        Raises:
            ValueError: cells that are not what the task wants.
        """
        if self.kind == "regression":
            return value_matrix(table, self.names, where), self.names
        if len(self.names) > 1:
            return truth_matrix(table, self.names, where), self.names
        column = table[self.names[0]]
        if self.kind == "multi-label":
            return label_matrix(column, where, self.class_names, self.delimiter)
        if len(places := holds_lists(column)):
            raise ValueError(
                f"column '{column.name}' of {where} holds lists ({rows_listed(places)}), but classification learns one "
                "label a row; set task to multi-label to learn all labels of a list"
            )
        return class_numbers(column, ids, where, self.class_names, to_train)
