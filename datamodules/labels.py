"""From the columns of a table to class numbers and splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.records import listed

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def class_numbers(
    column: pd.Series, ids: Sequence[str], where: str, wanted: tuple[str, ...] | None, to_train: bool = True
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class numbers [n] and the names of the classes.

    Args:
        column: class names, or whole numbers.
        ids: names of the rows, for messages.
        where: the table, for messages.
        wanted: the classes in the order of their numbers; None takes all there are, sorted.
        to_train: whether there must be enough of each class to train on.

    Raises:
        ValueError: labels out of range, not among `wanted`, with a fraction, or that occur only once.
    """
    labels, names = _numbers(column, ids, where, wanted)
    once = [name for k, name in enumerate(names) if (labels == k).sum() == 1]
    if once and to_train:
        raise ValueError(
            f"{len(once)} labels occur only once in {where}: {listed(once)}; a class needs samples in training and in "
            "validation. Add samples, correct the labels, or drop the rows"
        )
    return labels, names


def _numbers(
    column: pd.Series, ids: Sequence[str], where: str, wanted: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    numeric = all(_is_number(value) for value in column)
    numbers = pd.to_numeric(column) if numeric else column
    fractions = np.flatnonzero(numbers % 1 != 0) if numeric else np.array([], np.int64)
    if len(fractions):
        first = int(fractions[0])
        raise ValueError(
            f"{len(fractions)} labels in {where} have a fraction ({column.iloc[first]} for {ids[first]}): classes are "
            "names or whole numbers. Group the numbers into classes first, or set task to "
            "regression to predict them"
        )
    if numeric and wanted is not None and not set(map(str, column)) <= set(wanted):
        labels = numbers.to_numpy(dtype=np.int64)
        wrong = np.flatnonzero((labels < 0) | (labels >= len(wanted)))
        if len(wrong):
            raise ValueError(
                f"labels must be in 0…{len(wanted) - 1} ({len(wanted)} class_names), but {len(wrong)} rows of "
                f"{where} are not: {labels[wrong[0]]} for {ids[wrong[0]]}"
            )
        return labels, wanted
    if numeric:
        labels = numbers.to_numpy(dtype=np.int64)
        values = np.unique(labels)
        return np.searchsorted(values, labels).astype(np.int64), tuple(str(value) for value in values)
    texts = [str(value) for value in column]
    names = wanted or tuple(sorted(set(texts)))
    unknown = sorted(set(texts) - set(names))
    if unknown:
        raise ValueError(f"{where} has labels that are not in class_names: {listed(unknown)}")
    place = {name: number for number, name in enumerate(names)}
    return np.array([place[text] for text in texts], dtype=np.int64), names


def _is_number(value: Any) -> bool:
    """Whether a label is a number: codes such as 01, dates and truth values are names."""
    if isinstance(value, str):
        return re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", value) is not None
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def split_names(column: pd.Series, where: str) -> NDArray[np.str_]:
    """The splits [n] that a column names: "train", "validation" or "test".

    Raises:
        ValueError: for other names.
    """
    given = [str(value).strip().lower() for value in column]
    unknown = sorted(set(given) - set(SPLIT_NAMES))
    if unknown:
        raise ValueError(
            f"column '{column.name}' of {where} must hold train, validation or test, got {listed(unknown)}"
        )
    return np.array([SPLIT_NAMES[value] for value in given])
