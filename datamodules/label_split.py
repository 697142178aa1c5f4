"""Splits of samples with several labels, or with values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.seeding import mix

_NAMES = ("test", "validation", "train")


def spread_labels(
    keys: Sequence[str], labels: NDArray[np.int64], validation_fraction: float, test_fraction: float, seed: int
) -> NDArray[np.str_]:
    """Put every sample in "train", "validation" or "test" so that each has its share of every label, the rarest first.

    Iterative stratification (Sechidis et al., 2011, algorithm 1), over samples in an order that depends on their keys
    and the seed; ties go to training. Each split gets one sample of a label with few before training gets more. Equal
    keys lie on one side.

    Args:
        keys: [n] names or texts.
        labels: [n, labels] of 0 and 1.
        test_fraction: may be 0, for no test split.

    Returns:
        [n] names of splits.
    """
    first, group, order = _groups(keys, seed)
    summed = np.zeros((len(first), labels.shape[1]), np.int64)
    np.maximum.at(summed, group, labels)
    none = (summed.sum(1) == 0).astype(np.int64)
    wanted = np.concatenate([summed, none[:, None]], axis=1)  # samples without labels are shared out, too
    shares = np.array([test_fraction, validation_fraction, 1 - test_fraction - validation_fraction])
    need = shares[:, None] * wanted.sum(0)  # [splits, labels], still to come
    need = np.where(wanted.sum(0) >= (shares > 0).sum(), np.maximum(need, 1), need)  # one each, where there are enough
    room = shares * len(first)
    room[shares == 0] = -np.inf
    need[shares == 0] = -np.inf
    side = np.full(len(first), -1)
    left = wanted.sum(0)
    while (left > 0).any():
        label = int(np.where(left > 0, left, left.max() + 1).argmin())
        for member in order[(wanted[order, label] == 1) & (side[order] < 0)]:
            best = np.flatnonzero(need[:, label] >= need[:, label].max() - 1e-9)
            chosen = int(best[room[best] >= room[best].max() - 1e-9][-1])
            side[member] = chosen
            need[chosen] -= wanted[member]
            room[chosen] -= 1
        left = wanted[side < 0].sum(0)
    names: NDArray[np.str_] = np.array(_NAMES)[side][group]
    return names


def spread_values(
    keys: Sequence[str], labels: NDArray[Any], validation_fraction: float, test_fraction: float, seed: int
) -> NDArray[np.str_]:
    """Put every sample in "train", "validation" or "test" by chance, equal keys on one side.

    Args:
        keys: [n] names or texts.
        labels: not looked at.
        test_fraction: may be 0, for no test split.

    Returns:
        [n] names of splits.

    Raises:
        ValueError: too few different samples for all splits.
    """
    first, group, order = _groups(keys, seed)
    parts = 3 if test_fraction > 0 else 2
    if len(first) < parts + 1:
        raise ValueError(
            f"there are {len(first)} different samples, which is too few to be split: give at least {parts + 1}"
        )
    test = max(1, round(len(first) * test_fraction)) if test_fraction > 0 else 0
    validation = max(1, round(len(first) * validation_fraction))
    while test + validation > len(first) - 2:  # two are left to train on
        test, validation = (test - 1, validation) if test > validation else (test, validation - 1)
    side = np.full(len(first), "train", dtype="<U10")
    side[order[:test]] = "test"
    side[order[test : test + validation]] = "validation"
    return side[group]


def _groups(keys: Sequence[str], seed: int) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The different keys, the number [n] of each sample's, and an order of them that the seed decides."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    places = np.array([mix(seed, "split", key) for key in numbers], dtype=np.uint64)
    return list(numbers), group, np.argsort(places, kind="stable")
