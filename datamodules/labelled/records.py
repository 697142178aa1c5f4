"""Which samples a data set has: names, labels, splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
UNDIVIDED = "undivided"  # of samples that the data put into no split


@dataclass(frozen=True, kw_only=True)
class Records:
    """One entry for each sample of all splits; a sample's place here is its `index` everywhere else.

    Args:
        ids: a stable name for each, such as its path below the data set's folder.
        labels: [n] class numbers, -1 where not known (samples to predict); of several labels [n, labels] of 0 and 1,
            of values [n, targets] floating point, -1 or not a number where not known.
        splits: [n] of "train", "validation", "test", or "predict" for samples without a label.
        class_names: by class number; names of the labels, or of the values.
        blocks: [n] cluster of each sample where samples of one cluster resemble each other; None when independent.
    """

    ids: Sequence[str]
    labels: NDArray[Any]
    splits: NDArray[np.str_]
    class_names: tuple[str, ...]
    blocks: NDArray[np.int64] | None = None

    def sizes(self) -> dict[str, int]:
        """Lengths that must all be the same."""
        return {"ids": len(self.ids), "labels": len(self.labels), "splits": len(self.splits)}

    def __post_init__(self) -> None:
        sizes = self.sizes()
        if len(set(sizes.values())) > 1:
            raise ValueError(f"records must have one entry for each sample, got {sizes}")
        if self.labels.ndim > 1:
            self._check_rows()
            return
        known = self.labels[self.splits != "predict"]
        wrong = np.flatnonzero((known < 0) | (known >= len(self.class_names)))
        if len(wrong):
            raise ValueError(
                f"labels must be in 0…{len(self.class_names) - 1} ({len(self.class_names)} classes), got "
                f"{known[wrong[0]]} for {self.ids[int(np.flatnonzero(self.splits != 'predict')[wrong[0]])]}"
            )

    def _check_rows(self) -> None:
        if self.labels.shape[1:] != (len(self.class_names),):
            raise ValueError(f"labels must be [n, {len(self.class_names)}], got {self.labels.shape}")
        wrong = np.flatnonzero(~self.labelled & (self.splits != "predict"))
        if len(wrong):
            raise ValueError(f"labels must be 0 and 1, or finite, got {self.labels[wrong[0]]} for {self.ids[wrong[0]]}")

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """[n] whether a sample's labels are known."""
        rows = self.labels.reshape(len(self.labels), -1)
        cells: NDArray[np.bool_] = np.asarray(np.isfinite(rows) if rows.dtype.kind == "f" else rows >= 0, dtype=bool)
        known: NDArray[np.bool_] = np.all(cells, axis=1)
        return known

    def counts(self, indices: NDArray[np.int64]) -> dict[str, int]:
        """How many of these samples each class, or label, has; nothing of values."""
        if self.labels.dtype.kind == "f":
            return {}
        if self.labels.ndim > 1:
            return dict(zip(self.class_names, self.labels[indices].sum(0).tolist(), strict=True))
        counts = np.bincount(self.labels[indices], minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))


def unknown_labels(like: NDArray[Any], count: int) -> NDArray[Any]:
    """Labels of samples without any, of the shape and type of others."""
    unknown = np.nan if like.dtype.kind == "f" else -1
    return np.full((count, *like.shape[1:]), unknown, dtype=like.dtype)


def listed(names: Sequence[Any], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def check_classes(records: Records, indices: dict[str, NDArray[np.int64]], noun: str = "samples") -> None:
    """Check that there is something to learn: two classes or more, each in training and in validation.

    Args:
        records: all samples.
        indices: the samples of each split.
        noun: what samples are called in messages.

    Raises:
        ValueError: naming the classes, with their counts.
    """
    counts = {split: records.counts(indices[split]) for split in SPLITS}
    if len(records.class_names) < 2:
        have = ", ".join(f"'{name}' ({sum(c[name] for c in counts.values())} {noun})" for name in records.class_names)
        raise ValueError(f"a classifier needs at least two classes, found one: {have}")
    for split, word in (("train", "training"), ("validation", "validation")):
        missing = [name for name in records.class_names if counts[split][name] == 0]
        if missing:
            table = "; ".join(
                f"'{name}' has {', '.join(f'{counts[s][name]} {s}' for s in SPLITS)} {noun}" for name in missing[:10]
            )
            raise ValueError(
                f"{len(missing)} of {len(records.class_names)} classes are missing from {word}: {table}. "
                f"Add {noun} of these classes to that split, or leave the classes out"
            )
