"""`Profiles`: what is known of users, as codes that a tower can look up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.item_table import id_texts
from datamodules.tables import check_column, check_columns, rows_listed

_BINS = 10  # of a column of numbers
_UNKNOWN = "unknown"


class Profiles:
    """Each field as codes from 1 on, 0 for what is not known.

    Texts and numbers with few different values keep them, those that training users have; other numbers are cut at the
    deciles of the training users.

    Args:
        table: [users] one column a field.
        trained: [users] whether a user has an event in the training window.

    Attributes:
        codes: [users, fields].
        sizes: how many codes each field has, 0 included.
        labels: each field's value by user, as text, for reports.
    """

    def __init__(self, table: pd.DataFrame, trained: NDArray[np.bool_]) -> None:
        columns = [_coded(table[name], trained) for name in table]
        self.codes: NDArray[np.int64] = np.zeros((len(table), len(columns)), np.int64)
        self.labels: dict[str, NDArray[np.str_]] = {}
        for number, (name, (codes, names)) in enumerate(zip(table, columns, strict=True)):
            self.codes[:, number] = codes
            self.labels[str(name)] = np.array([_UNKNOWN, *names])[codes]
        self.sizes: Sequence[int] = tuple(len(names) + 1 for _, names in columns)


def _coded(column: pd.Series, trained: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[str]]:
    numbers = pd.to_numeric(column, errors="coerce")
    if (numbers.notna() == column.notna()).all() and not pd.api.types.is_bool_dtype(column):
        column = numbers  # a CSV gives numbers as text
    seen = column[trained].dropna()
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and seen.nunique() > 2 * _BINS:
        edges = np.unique(np.quantile(seen, np.linspace(0, 1, _BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, column.fillna(0), side="right") + 1
        ends = [f"{edge:g}" for edge in edges]
        names = [f"below {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"{ends[-1]} up"]
        return np.where(column.isna(), 0, codes), names
    values = sorted(seen.unique(), key=str)
    places = {value: number for number, value in enumerate(values, 1)}
    return column.map(places).fillna(0).to_numpy(np.int64), [str(value) for value in values]


def user_ids(users: pd.DataFrame, column: str, path: Path) -> list[str]:
    """The ids of a table of users.

    Raises:
        ValueError: there is no such column, or an id occurs twice.
    """
    check_columns(users, {"user": column}, path)
    ids = id_texts(users[column])
    twice = np.flatnonzero(pd.Index(ids).duplicated())
    if len(twice):
        raise ValueError(f"{path} has the user {ids[twice[0]]} more than once: {rows_listed(twice)}; keep one row each")
    return ids


def profile_columns(users: pd.DataFrame, column: str, wanted: Sequence[str] | None) -> pd.DataFrame:
    """The fields of a table of users, its rows numbered from 0.

    Args:
        column: of the ids.
        wanted: columns; None for all but the ids.

    Raises:
        ValueError: there is no such column.
    """
    for name in wanted or ():
        check_column(users, "profile", name, "the table of users")
    names = [name for name in users if name != column] if wanted is None else list(wanted)
    return users[names].reset_index(drop=True)
