"""Splits and small samples in which every class keeps its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.loading.seeding import mix, sample_keys

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class MadeSplit:
    """How samples that come without a split are parted.

    Args:
        validation_fraction: share of the samples for validation.
        test_fraction: share of the samples for the test; may be 0.
        seed: other seeds give other splits.
    """

    validation_fraction: float
    test_fraction: float
    seed: int


def stratified_split(
    ids: Sequence[str],
    labels: NDArray[Any],
    class_names: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    keys: Sequence[str] | None = None,
    notes: list[str] | None = None,
) -> NDArray[np.str_]:
    """Put every sample in "train", "validation" or "test".

    Where a sample goes is a function of its key and the seed alone: samples that come later move none of those that are
    there, and samples of one key lie on one side. So shares are met in the mean, not to the sample. One exception: in a
    class of which a split would have none, the sample that comes nearest goes there, and may move when the class grows.

    Args:
        ids: names of the samples, for messages.
        labels: [n] class numbers; or [n, labels] of 0 and 1, or [n, values] of floats, all of one class.
        class_names: by class number; of one label, for messages.
        validation_fraction: share of the samples for validation, in (0, 1).
        test_fraction: may be 0, for no test split.
        seed: another one gives another split.
        keys: [n] what a sample is known by; default its id.
        notes: where to add what the user should know.

    Returns:
        [n] names of splits.

    Raises:
        ValueError: for a class with too few different samples to be in every split, with one of its samples.
    """
    known = list(ids) if keys is None else list(keys)
    unique = list(dict.fromkeys(known))
    group = {key: number for number, key in enumerate(unique)}
    groups = np.array([group[key] for key in known], dtype=np.int64)
    place = np.array([mix(seed, "split", key) for key in unique], dtype=np.float64) / 2.0**63
    side = np.full(len(unique), "train", dtype="<U10")
    side[place < test_fraction + validation_fraction] = "validation"
    side[place < test_fraction] = "test"
    wanted = ["test", "validation", "train"] if test_fraction > 0 else ["validation", "train"]
    if labels.dtype.kind == "f" and len(unique) < len(wanted):
        raise ValueError(f"there are {len(unique)} different samples, which is too few to be split: give more")
    having = [np.arange(len(ids))] if labels.dtype.kind == "f" else _having(labels, len(class_names))
    members = [np.unique(groups[samples]) for samples in having]
    for name, samples, different in zip(class_names, having, members, strict=False) if labels.ndim == 1 else ():
        if 0 < len(different) < len(wanted):
            first = [ids[int(k)] for k in samples]
            raise ValueError(_too_few(name, len(samples), len(different), first, len(wanted)))
    moved = _filled(side, place, [each for each in members if len(each)], wanted)
    if moved and notes is not None:
        notes.append(
            f"{moved} samples of small classes were put into splits that would have had none of their class; when "
            "these classes grow, they may be put elsewhere"
        )
    found: NDArray[np.str_] = side[groups]
    return found


def _having(labels: NDArray[Any], count: int) -> list[NDArray[np.int64]]:
    """The samples of each class, or of each label."""
    if labels.ndim == 1:
        return [np.flatnonzero(labels == number) for number in range(count)]
    return [np.flatnonzero(column == 1) for column in labels.T]


def _too_few(name: str, count: int, different: int, ids: Sequence[str], least: int) -> str:
    times = "once" if count == 1 else f"{count} times"
    equal = "" if different == count else f", but as {different} different one{'' if different == 1 else 's'}"
    parts = f"training, validation{' and test' if least == 3 else ''}"
    return (
        f"the label '{name}' occurs {times}{equal} ({', '.join(ids[:5])}): a class needs at least {least} different "
        f"samples to be split into {parts}, as equal ones lie on one side. Add samples, or drop the class"
    )


def _filled(
    side: NDArray[np.str_], place: NDArray[np.float64], classes: list[NDArray[np.int64]], wanted: list[str]
) -> int:
    """Put the nearest sample of each class into splits that have none of it; how many were moved.

    Args:
        side: [different samples] splits, changed in place.
        place: [different samples] in [0, 1), by which they were chosen; splits lie along it in the order of `wanted`.
        classes: the different samples of each class.
        wanted: the splits that may not be without a class, "train" last.
    """
    moved: dict[int, str] = {}
    for _ in range(len(wanted)):  # a sample may be of several classes; what one needs may have been another's
        for members in classes:
            ordered = members[np.argsort(place[members], kind="stable")]
            for split in wanted:
                if (side[ordered] == split).any():
                    continue
                spare = [k for k in ordered if (side[ordered] == side[k]).sum() > 1 and k not in moved]
                if spare:
                    nearest = spare[0] if split != "train" else spare[-1]
                    side[nearest] = moved[int(nearest)] = split
    return len(moved)


def grouped_split(
    texts: Sequence[str],
    labels: NDArray[Any],
    class_names: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    notes: list[str] | None = None,
) -> NDArray[np.str_]:
    """As `stratified_split`, with equal texts on one side, whatever their case, spacing and labels.

    Returns:
        [n] names of splits.
    """
    keys = [" ".join(text.split()).casefold() for text in texts]
    named = [text if len(text) <= 40 else f"{text[:39]}…" for text in texts]
    how = validation_fraction, test_fraction, seed
    return stratified_split(named, labels, class_names, *how, keys=keys, notes=notes)


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
            train: indices of the training samples.
            validation: indices of the validation samples.
            labels: [all samples] class numbers, looked up by index; of several labels and of values, whose samples
                lie in no class, a row each.
            names: of the classes.
            seed: another one keeps other samples.

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
