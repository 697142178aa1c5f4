"""From the columns of a table to class numbers and splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray

from datamodules.labelled.records import listed
from lightning_tl.contracts.notice import Notice

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "validation"),
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
    values = [value.strip() if isinstance(value, str) else value for value in column]
    if any(isinstance(value, str) and value != given for value, given in zip(values, column, strict=True)):
        rank_zero_info(f"labels of {where}: spaces around them are left out")
    if all(_is_number(value) for value in values):
        return _of_numbers(values, ids, where, wanted)
    texts = [str(value) for value in values]
    names = wanted or tuple(sorted(set(texts)))
    unknown = sorted(set(texts) - set(names))
    if unknown:
        raise ValueError(f"{where} has labels that are not in class_names: {listed(unknown)}")
    warn_of_alike(names, texts, where)
    place = {name: number for number, name in enumerate(names)}
    return np.array([place[text] for text in texts], dtype=np.int64), names


def _of_numbers(
    values: Sequence[Any], ids: Sequence[str], where: str, wanted: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Whole numbers of any size are classes that are called after them; among `wanted` names they may be places."""
    exact = {value: Fraction(str(value)) for value in set(values)}  # however many digits there are
    fractions = [k for k, value in enumerate(values) if exact[value].denominator != 1]
    if fractions:
        first = fractions[0]
        raise ValueError(
            f"{len(fractions)} labels in {where} have a fraction ({values[first]} for {ids[first]}): classes are "
            "names or whole numbers. Group the numbers into classes first, or set task to "
            "regression to predict them"
        )
    whole = [int(exact[value]) for value in values]
    if wanted is None:
        found = sorted(set(whole))
        place = {number: k for k, number in enumerate(found)}
        return np.array([place[number] for number in whole], np.int64), tuple(map(str, found))
    if {str(number) for number in whole} <= set(wanted):
        return np.array([wanted.index(str(number)) for number in whole], np.int64), wanted
    wrong = [k for k, number in enumerate(whole) if not 0 <= number < len(wanted)]
    if wrong:
        raise ValueError(
            f"labels must be in 0…{len(wanted) - 1} ({len(wanted)} class_names), but {len(wrong)} rows of "
            f"{where} are not: {whole[wrong[0]]} for {ids[wrong[0]]}"
        )
    return np.array(whole, np.int64), wanted


def warn_of_alike(names: Sequence[str], texts: Sequence[str], where: str) -> None:
    """Names that differ by case or spaces alone are most often one class, written twice."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault("".join(name.split()).casefold(), []).append(name)
    counts = Counter(texts)
    for several in alike.values():
        if len(several) > 1:
            told = " and ".join(f"'{name}' ({counts[name]:,})" for name in several)
            rank_zero_warn(
                f"{where} has {told}, which differ by case or spaces alone, as different classes", category=Notice
            )


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
