"""From columns of numbers to values to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.tables.tables import rows_listed
from lightning_tl.tasks import Values

_LARGEST = 1e15  # of whose squares 32-bit numbers, which metrics add up, hold the sum


def value_matrix(table: pd.DataFrame, columns: Sequence[str], where: str) -> NDArray[np.float64]:
    """[n, columns], finite.

    Raises:
        ValueError: cells that are no finite numbers, with their rows.
    """
    found = np.zeros((len(table), len(columns)), np.float64)
    for k, name in enumerate(columns):
        found[:, k] = [_number(value) for value in table[name]]
        odd = np.flatnonzero(~(np.abs(found[:, k]) <= _LARGEST))
        if len(odd):
            raise ValueError(
                f"column '{name}' of {where} must hold finite numbers up to {_LARGEST:.0e} for regression, but "
                f"{rows_listed(table.index[odd])} {'hold' if len(odd) > 1 else 'holds'} others, such as "
                f"{table[name].iloc[odd[0]]!r}"
            )
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool | np.bool_):
        return float(value)
    if isinstance(value, str) and "_" in value:  # which Python reads as a digit separator
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def standardising(values: NDArray[Any], names: Sequence[str], where: str) -> Values:
    """The task of predicting values, with mean and deviation of the training samples.

    Args:
        values: [training samples, targets].
        names: of the targets.
        where: the data, for messages.

    Raises:
        ValueError: fewer than two samples, or a target that is always the same, or so nearly that the 32-bit numbers of
            training cannot tell.
    """
    if len(values) < 2:
        raise ValueError(f"regression needs at least two training samples, {where} has {len(values)}")
    mean, std = values.mean(0), values.std(0)
    same = [name for name, m, s in zip(names, mean, std, strict=True) if not s > 1e-5 * abs(m)]
    if same:
        raise ValueError(
            f"{', '.join(same)} of {where}: training samples differ by less than a 100,000th of their mean, so there "
            "is nothing to learn; subtract an offset where small differences matter"
        )
    return Values(mean.tolist(), std.tolist())
