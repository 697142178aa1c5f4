"""Splits and small samples in which every class keeps its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.seeding import mix, sample_keys

Indices = NDArray[np.int64]


def stratified_split(
    ids: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> NDArray[np.str_]:
    """Put every sample in "train", "validation" or "test", class by class.

    Which samples go where depends on their ids and the seed, not on their order.

    Args:
        labels: [n] class numbers.
        test_fraction: may be 0, for no test split.

    Returns:
        [n] names of splits.

    Raises:
        ValueError: for a class with too few samples to be in every split, with one of its samples.
    """
    splits = np.full(len(ids), "train", dtype="<U10")
    keys = np.array([mix(seed, "split", name) for name in ids], dtype=np.uint64)
    parts = 3 if test_fraction > 0 else 2
    for label, name in enumerate(class_names):
        members = np.flatnonzero(labels == label)
        if 0 < len(members) < parts:
            times = "once" if len(members) == 1 else f"{len(members)} times"
            raise ValueError(
                f"the label '{name}' occurs {times} ({', '.join(ids[int(i)] for i in members)}): a class needs at "
                f"least {parts} samples to be split into training, validation{' and test' if parts == 3 else ''}. "
                "Add samples, or drop the class"
            )
        members = members[np.argsort(keys[members], kind="stable")]
        test = max(1, round(len(members) * test_fraction)) if test_fraction > 0 else 0
        validation = max(1, round(len(members) * validation_fraction))
        while test + validation >= len(members) > 0:  # at least one is left to train on
            test, validation = (test - 1, validation) if test > validation else (test, validation - 1)
        splits[members[:test]] = "test"
        splits[members[test : test + validation]] = "validation"
    return splits


def grouped_split(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> NDArray[np.str_]:
    """As `stratified_split`, with equal texts on one side, whatever their case, spacing and labels.

    Returns:
        [n] names of splits.
    """
    keys = [" ".join(text.split()).casefold() for text in texts]
    first: dict[str, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    parts = 3 if test_fraction > 0 else 2
    for label, name in enumerate(class_names):
        members = np.flatnonzero(labels == label)
        different = len({keys[place] for place in members})
        if different < min(parts, len(members)):
            raise ValueError(
                f"the label '{name}' occurs {len(members)} times, but with {different} different "
                f"text{'' if different == 1 else 's'}: equal texts lie on one side, so a class needs at least {parts} "
                "to be split. Add samples, or drop the class"
            )
    unique = list(first)
    splits = stratified_split(
        unique, labels[list(first.values())], class_names, validation_fraction, test_fraction, seed
    )
    side = dict(zip(unique, splits, strict=True))
    return np.array([side[key] for key in keys])


def check_fractions(validation_fraction: float, test_fraction: float) -> None:
    """Check the sizes of the splits.

    Raises:
        ValueError: when one is out of range or nothing is left for training.
    """
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction must be in (0, 1), got {validation_fraction}")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction must be in [0, 1), got {test_fraction}")
    if validation_fraction + test_fraction >= 1:
        raise ValueError(
            f"validation_fraction and test_fraction must leave something for training, got {validation_fraction} and "
            f"{test_fraction}, together {validation_fraction + test_fraction:g}"
        )


class FewLabels:
    """Keep some labelled samples of each class, as if there were no more: for label-efficiency experiments.

    Smaller samples are part of larger ones with the same seed: the 10 per class are among the 50. Validation shrinks
    in proportion, class by class, because someone with few labels has few for choosing a model as well.

    Args:
        fraction: share of each class to keep, in (0, 1]; or
        per_class: number of training samples of each class to keep.
        noun: what samples are called in messages.
    """

    def __init__(self, fraction: float | None = None, per_class: int | None = None, noun: str = "samples") -> None:
        if fraction is not None and per_class is not None:
            raise ValueError(
                f"give label_fraction or labels_per_class, not both; got label_fraction={fraction} and "
                f"labels_per_class={per_class}"
            )
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"label_fraction must be in (0, 1], got {fraction}; None keeps all labels")
        if per_class is not None and per_class < 1:
            raise ValueError(f"labels_per_class must be at least 1, got {per_class}; None keeps all labels")
        self.fraction, self.per_class, self.noun = fraction, per_class, noun

    def choose(
        self, train: Indices, validation: Indices, labels: NDArray[np.int64], names: Sequence[str], seed: int
    ) -> tuple[Indices, Indices]:
        """The samples to keep, in the order they came in.

        Args:
            labels: [all samples] class numbers, looked up by index; of several labels and of values, whose samples
                lie in no class, a row each.

        Raises:
            ValueError: when a class has fewer training samples than `per_class`, or there are no classes to count.
        """
        if self.fraction is None and self.per_class is None:
            return train, validation
        if labels.ndim > 1:
            if self.per_class is not None:
                raise ValueError("labels_per_class counts samples of one label each: use label_fraction")
            labels, names = np.zeros(len(labels), np.int64), ("all",)
        kept: dict[str, list[Indices]] = {"train": [], "validation": []}
        for label in range(len(names)):
            there = {"train": train[labels[train] == label], "validation": validation[labels[validation] == label]}
            share = self._share(len(there["train"]), names[label])
            for split, members in there.items():
                count = min(len(members), max(1, round(share * len(members))))
                order = np.argsort(sample_keys(members, seed, "few labels"), kind="stable")
                kept[split].append(members[order[:count]])
        chosen_train, chosen_validation = (np.sort(np.concatenate(kept[split])) for split in ("train", "validation"))
        return chosen_train, chosen_validation

    def _share(self, available: int, name: str) -> float:
        """Share of a class to keep, of which there are `available` training samples."""
        if self.per_class is None:
            return self.fraction or 1.0
        if self.per_class > available:
            raise ValueError(
                f"labels_per_class is {self.per_class}, but training has only {available} {self.noun} of '{name}'; "
                f"at most {available} are possible"
            )
        return self.per_class / available if available else 0.0
