"""`Profiles`: what is known of users, as codes that a tower can look up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.events.item_table import id_texts
from datamodules.tables.tables import check_column, check_columns, rows_listed

_BINS = 10  # of a column of numbers
_UNKNOWN = "unknown"

Meaning = Mapping[str, Sequence[Any]]


class Profiles:
    """Each field as codes from 1 on, 0 for what is not known.

    Texts and numbers with few different values keep them, those that training users have; other numbers are cut at the
    deciles of the training users.

    Args:
        table: [users] one column a field.
        trained: [users] whether a user has an event in the training window.
        vocabulary: of a trained model, instead of one made of the training users.

    Attributes:
        codes: [users, fields].
        sizes: how many codes each field has, 0 included.
        labels: each field's value by user, as text, for reports.
        vocabulary: what the codes from 1 on stand for, by field: its `values`, or the `edges` between its numbers.

    Raises:
        ValueError: a field of the vocabulary is not in the table.
    """

    def __init__(
        self, table: pd.DataFrame, trained: NDArray[np.bool_], vocabulary: Mapping[str, Meaning] | None = None
    ) -> None:
        self._table, self._trained = table, trained
        columns = {str(name): _as_numbers(table[name]) for name in table}
        if vocabulary is None:
            vocabulary = {name: _meaning(column[trained].dropna()) for name, column in columns.items()}
        self.vocabulary: Mapping[str, Meaning] = vocabulary
        missing = [name for name in self.vocabulary if name not in columns]
        if missing:
            raise ValueError(
                f"the model reads the profile field '{missing[0]}', which users do not have (they have "
                f"{', '.join(columns) or 'none'}): add this column to the table of users, or train again"
            )
        self.codes: NDArray[np.int64] = np.zeros((len(table), len(self.vocabulary)), np.int64)
        self.labels: dict[str, NDArray[np.str_]] = {}
        sizes = []
        for number, (name, meaning) in enumerate(self.vocabulary.items()):
            names = [_UNKNOWN, *_names(meaning)]
            self.codes[:, number] = _codes(columns[name], meaning)
            self.labels[name] = np.array(names)[self.codes[:, number]]
            sizes.append(len(names))
        self.sizes: Sequence[int] = tuple(sizes)

    def coded_by(self, vocabulary: Mapping[str, Meaning]) -> Profiles:
        """The same users in the codes of another vocabulary."""
        return Profiles(self._table, self._trained, vocabulary)


def _as_numbers(column: pd.Series) -> pd.Series:
    """The column as numbers where all its values are, as a CSV gives numbers as text; but not True and False."""
    numbers = pd.to_numeric(column, errors="coerce")
    is_bool = pd.api.types.infer_dtype(column, skipna=True) == "boolean"
    return numbers if (numbers.notna() == column.notna()).all() and not is_bool else column


def _meaning(seen: pd.Series) -> Meaning:
    """What the codes of a field stand for, by the values of the training users."""
    is_number = pd.api.types.is_numeric_dtype(seen) and not pd.api.types.is_bool_dtype(seen)
    if is_number and seen.nunique() > 2 * _BINS:
        return {"edges": np.unique(np.quantile(seen, np.linspace(0, 1, _BINS + 1)[1:-1])).tolist()}
    return {"values": sorted({_text(value) for value in seen.unique()})}


def _names(meaning: Meaning) -> list[str]:
    """What the codes from 1 on are called in reports."""
    if "values" in meaning:
        return [str(value) for value in meaning["values"]]
    ends = [f"{edge:g}" for edge in meaning["edges"]]
    return [f"below {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"{ends[-1]} up"]


def _codes(column: pd.Series, meaning: Meaning) -> NDArray[np.int64]:
    if "edges" in meaning:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        return np.where(np.isnan(numbers), 0, np.searchsorted(meaning["edges"], numbers, side="right") + 1)
    places = {value: number for number, value in enumerate(meaning["values"], 1)}
    known = {value: places.get(_text(value), 0) for value in column.dropna().unique()}
    codes: NDArray[np.int64] = column.astype(object).map(known).fillna(0).to_numpy(np.int64)
    return codes


def _text(value: object) -> str:
    """Whole numbers without a decimal point: a missing value elsewhere in a column makes floats of integers."""
    return str(int(value)) if isinstance(value, float | np.floating) and value.is_integer() else str(value)


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


def user_profiles(
    users: pd.DataFrame | None, column: str, wanted: Sequence[str] | None, trained: NDArray[np.bool_]
) -> tuple[Profiles, list[str]]:
    """The profiles of all users of a log, those of the table first, and what to tell.

    Args:
        users: their table; None for no profiles.
        column: of the ids.
        wanted: columns; None for all but the ids.
        trained: [users of the log] whether a user has an event in the training window.

    Raises:
        ValueError: there is no such column, it is named twice, or its cells are lists.
    """
    every = range(len(trained))
    if users is None:
        return Profiles(pd.DataFrame(index=every), trained), []
    for name in wanted or ():
        check_column(users, "profile", name, "the table of users")
    names = [name for name in users if name != column] if wanted is None else list(wanted)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"profile names the column '{twice}' more than once; name it once")
    for name in names:
        _check_plain(name, users[name])
    like_ids = [name for name in names if wanted is None and _is_almost_id(users[name])]
    told = (f"'{name}' has {users[name].nunique():,} different values for {len(users):,} users" for name in like_ids)
    notes = [f"the column of users {one}, as an id does: name the columns of profiles with profile" for one in told]
    return Profiles(users[names].reset_index(drop=True).reindex(every), trained), notes


def _check_plain(name: str, values: pd.Series) -> None:
    nested = next((value for value in values if isinstance(value, list | dict | tuple | set | np.ndarray)), None)
    if nested is not None:
        raise ValueError(
            f"the column '{name}' of users holds a {type(nested).__name__} ({nested!s:.40}), and a profile field is "
            "one value for each user: name the columns of profiles with profile (--data.profile=[age,country])"
        )


def _is_almost_id(values: pd.Series) -> bool:
    """More than 50 different texts, and more than half as many as users who have one."""
    is_text = not pd.api.types.is_numeric_dtype(_as_numbers(values))
    return is_text and int(values.nunique()) > max(50, int(values.notna().sum()) // 2)
