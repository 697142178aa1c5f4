"""From cells with several labels, or columns of yes and no, to a matrix of 0 and 1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.labelled.records import listed
from datamodules.tables.tables import rows_listed

_TRUTH = {"1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0, "yes": 1, "no": 0}


def holds_lists(column: pd.Series) -> list[Any]:
    """Places of cells that are lists, arrays or other containers."""
    several = (list, tuple, set, dict, np.ndarray)
    return [place for place, value in zip(column.index, column, strict=True) if isinstance(value, several)]


def truth_matrix(table: pd.DataFrame, columns: Sequence[str], where: str) -> NDArray[np.int64]:
    """[n, columns] of 0 and 1.

    Raises:
        ValueError: other values, with their rows.
    """
    found = np.zeros((len(table), len(columns)), np.int64)
    for k, name in enumerate(columns):
        given = [_truth(value) for value in table[name]]
        odd = [place for place, value in enumerate(given) if value is None]
        if odd:
            raise ValueError(
                f"column '{name}' of {where} must hold 0 and 1 (or true and false) as one of several labels, but "
                f"{rows_listed(table.index[odd])} {'hold' if len(odd) > 1 else 'holds'} others, such as "
                f"{table[name].iloc[odd[0]]!r}. For numbers to be predicted set task to regression"
            )
        found[:, k] = np.array(given, np.int64)
    return found


def _truth(value: Any) -> int | None:
    if isinstance(value, str):
        return _TRUTH.get(value.strip().lower())
    if isinstance(value, bool | np.bool_ | int | np.integer | float | np.floating) and value in (0, 1):
        return int(value)
    return None


def label_matrix(
    column: pd.Series, where: str, wanted: tuple[str, ...] | None, delimiter: str | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """[n, labels] of 0 and 1, and the names of the labels.

    Args:
        column: lists of names or numbers, such lists as JSON, or texts with a delimiter between labels.
        where: the table, for messages.
        wanted: the labels in their order; None takes all there are, sorted.
        delimiter: between the labels of a text.

    Raises:
        ValueError: cells that are no lists, labels that are not `wanted`, or no labels at all.
    """
    cells = [_labels(value, delimiter) for value in column]
    odd = [place for place, labels in enumerate(cells) if labels is None]
    if odd:
        raise ValueError(
            f"column '{column.name}' of {where} must hold lists of labels, but {rows_listed(column.index[odd])} "
            f"{'do' if len(odd) > 1 else 'does'} not (such as {column.iloc[odd[0]]!r}): write lists as JSON, as in "
            '["a", "b"], or set label_delimiter to what stands between labels'
        )
    there = sorted({label for labels in cells for label in labels or ()}, key=_by_number)
    names = wanted or tuple(there)
    if unknown := [label for label in there if label not in names]:
        raise ValueError(f"{where} has labels that are not in class_names: {listed(unknown)}")
    if not names:
        raise ValueError(f"column '{column.name}' of {where} has no labels: every list is empty")
    place = {name: number for number, name in enumerate(names)}
    found = np.zeros((len(cells), len(names)), np.int64)
    for row, labels in enumerate(cells):
        for label in labels or ():
            found[row, place[label]] = 1
    return found, names


def _labels(value: Any, delimiter: str | None) -> list[str] | None:
    """The labels of a cell; None where it is no list."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return [] if delimiter is not None else None
    if isinstance(value, str) and delimiter is not None:
        return [part.strip() for part in value.split(delimiter) if part.strip()]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list | tuple | set | np.ndarray):
        return None
    parts = list(value)
    if any(not isinstance(part, str | int | np.integer | bool | np.bool_) for part in parts):
        return None
    return [str(part) for part in parts]


def _by_number(label: str) -> tuple[int, int, str]:
    """Whole numbers in their order, then names."""
    whole = label.removeprefix("-").isascii() and label.removeprefix("-").isdigit()
    return (0, int(label), label) if whole else (1, 0, label)
