"""Rows of a table that have no label because they are to be predicted, as in the test part of a competition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.labelled.labels import split_names
from datamodules.tables.tables import row_list

_HIDDEN = ("-1", "-1.0", "")


def unlabelled_rows(
    table: pd.DataFrame, columns: Sequence[str], split: str, where: str
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows are to be predicted: those of a test split in which no row has a label (none at all, or -1).

    Args:
        table: a row for each sample; it may be without a column of splits.
        columns: of labels.
        split: the column of splits.
        where: the table, for messages.

    Returns:
        [rows], and what to tell.

    Raises:
        ValueError: rows without a label where others have one.
    """
    empty = np.ones(len(table), bool)
    hidden = np.ones(len(table), bool)
    for name in columns:
        missing = table[name].isna().to_numpy()
        empty &= missing
        hidden &= missing | table[name].astype(str).str.strip().isin(_HIDDEN).to_numpy()
    found, notes = np.zeros(len(table), bool), []
    if split in table:
        mine = split_names(table[split], where) == "test"
        if mine.any() and hidden[mine].all() and not hidden[~mine].all():
            found = mine
            notes.append(f"the {int(mine.sum()):,} test rows of {where} have no labels: predict reads them")
    lacking = np.flatnonzero(empty & ~found)
    if len(lacking) and len(columns) == 1:
        raise ValueError(f"{len(lacking)} rows of {where} have no {columns[0]}: {row_list(table, lacking)}")
    return found, notes
