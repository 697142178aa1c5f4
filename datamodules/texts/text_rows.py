"""The rows of a table whose texts can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_warn

from datamodules.tables.tables import check_column, row_list
from lightning_tl.contracts.notice import Notice

OnEmptyText = Literal["error", "skip"]


def text_columns(text: str | Sequence[str], on_empty_text: str, max_length: int | None) -> list[str]:
    """The column of texts, or the two of pairs, as a list.

    Raises:
        ValueError: for another number of columns, or another option of reading that cannot be.
    """
    columns = [text] if isinstance(text, str) else list(text)
    if len(columns) not in (1, 2):
        raise ValueError(f"text must be one column or two, got {len(columns)}: {', '.join(columns)}")
    if on_empty_text not in ("error", "skip"):
        raise ValueError(f"on_empty_text must be 'error' or 'skip', got '{on_empty_text}'")
    if max_length is not None and max_length < 3:
        raise ValueError(f"max_length must be at least 3 tokens (two are special), got {max_length}")
    return columns


def rows_with_texts(
    table: pd.DataFrame, columns: Sequence[str], source: str, on_empty_text: OnEmptyText
) -> pd.DataFrame:
    """The rows that have a text in each of the columns, numbered as in the file.

    Args:
        table: a row for each sample.
        columns: of the texts: one, or the two of pairs.
        source: the table, for messages.
        on_empty_text: what to do with rows without text: "error", or "skip" and say how many.

    Raises:
        ValueError: a column is missing, a row has no text, or something there is no text.
    """
    for column in columns:
        check_column(table, "text", column, source)
    blank = np.zeros(len(table), dtype=bool)
    for column in columns:
        blank |= table[column].isna().to_numpy() | (table[column].astype(str).str.strip() == "").to_numpy()
    empty = np.flatnonzero(blank)
    if len(empty):
        said = f"{len(empty):,} rows of {source} have no {' or '.join(columns)}: {row_list(table, empty)}"
        if on_empty_text == "error":
            raise ValueError(f"{said}; drop them, or set on_empty_text to skip")
        rank_zero_warn(f"{said}; they are left out", category=Notice)
        table = table[~blank]
    for column in columns:
        odd = [place for place, value in enumerate(table[column]) if not _is_text(value)]
        if odd:
            kind = type(table[column].iloc[odd[0]]).__name__
            raise ValueError(f"{column} of {source} must hold texts; {row_list(table, odd)} holds a {kind}")
    return table


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(value, bool)
