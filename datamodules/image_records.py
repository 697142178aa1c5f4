"""Which images a data set has: names, labels, splits, and where the pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageRecords:
    """One entry for each image of all splits; an image's place here is its `index` everywhere else.

    Args:
        ids: a stable name for each, such as its path below the data set's folder.
        labels: [n] class numbers, -1 where not known (images to predict).
        splits: [n] of "train", "validation", "test", or "predict" for images without a label.
        class_names: by class number.
        paths: files to read; or
        images: [n, height, width, channels] uint8, all in memory.
        blocks: [n] cluster of each image where images of one cluster resemble each other; None when independent.
    """

    ids: Sequence[str]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    class_names: tuple[str, ...]
    paths: Sequence[Path] | None = None
    images: NDArray[np.uint8] | None = None
    blocks: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        pixels = self.paths if self.paths is not None else self.images
        sizes = {"ids": len(self.ids), "labels": len(self.labels), "splits": len(self.splits)}
        if pixels is not None:
            sizes["paths" if self.paths is not None else "images"] = len(pixels)
        if len(set(sizes.values())) > 1:
            raise ValueError(f"records must have one entry for each image, got {sizes}")
        known = self.labels[self.splits != "predict"]
        wrong = np.flatnonzero((known < 0) | (known >= len(self.class_names)))
        if len(wrong):
            raise ValueError(
                f"labels must be in 0…{len(self.class_names) - 1} ({len(self.class_names)} classes), got "
                f"{known[wrong[0]]} for {self.ids[int(np.flatnonzero(self.splits != 'predict')[wrong[0]])]}"
            )

    def counts(self, indices: NDArray[np.int64]) -> dict[str, int]:
        """How many of these images each class has."""
        counts = np.bincount(self.labels[indices], minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))


def listed(names: Sequence[Any], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def check_classes(records: ImageRecords, indices: dict[str, NDArray[np.int64]]) -> None:
    """Check that there is something to learn: two classes or more, each in training and in validation.

    Raises:
        ValueError: naming the classes, with their counts.
    """
    counts = {split: records.counts(indices[split]) for split in SPLITS}
    if len(records.class_names) < 2:
        have = ", ".join(f"'{name}' ({sum(c[name] for c in counts.values())} images)" for name in records.class_names)
        raise ValueError(f"a classifier needs at least two classes, found one: {have}")
    for split, word in (("train", "training"), ("validation", "validation")):
        missing = [name for name in records.class_names if counts[split][name] == 0]
        if missing:
            table = "; ".join(
                f"'{name}' has {', '.join(f'{counts[s][name]} {s}' for s in SPLITS)} images" for name in missing[:10]
            )
            raise ValueError(
                f"{len(missing)} of {len(records.class_names)} classes are missing from {word}: {table}. "
                "Add images of these classes to that split, or leave the classes out"
            )
