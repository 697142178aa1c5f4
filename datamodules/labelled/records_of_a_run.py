"""Records as a finished run's model knows them, and what a run notes of the records that it learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from datamodules.labelled.records import SPLITS, Records, listed
from datamodules.labelled.targets import with_columns_of
from lightning_tl.contracts.run_description import RunDescription, class_places

R = TypeVar("R", bound=Records)


def with_classes_of(run: RunDescription, records: R, chosen: NDArray[np.int64], source: str) -> R:
    """The same samples with the numbers that a run's model has for their classes, matched by name.

    Args:
        chosen: the samples that will be read; others may be of classes that the model does not know.
        source: where they come from, for messages.

    Raises:
        ValueError: some of the chosen samples are of a class that the model does not know.
    """
    names = run.class_names
    if records.class_names == names:
        return records
    if records.labels.ndim > 1:
        there = records.labels[chosen].any(0) if records.labels.dtype.kind != "f" else np.ones(0, bool)
        class_places([records.class_names[k] for k in np.flatnonzero(there)], names, source)
        rows = with_columns_of(records.labels, records.class_names, names, source)
        return dataclasses.replace(records, labels=rows, class_names=names)
    occurring = [records.class_names[k] for k in np.unique(records.labels[chosen]) if k >= 0]
    class_places(occurring, names, source)
    places = np.array([*(names.index(n) if n in names else -1 for n in records.class_names), -1], np.int64)
    labels = places[records.labels]
    splits = np.where(labels < 0, "predict", records.splits)  # no part of what is read now
    return dataclasses.replace(records, labels=labels, splits=splits, class_names=names)


def split_counts(records: Records, indices: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, Any]]:
    """How many samples each split has, and how many of them each class."""
    found: dict[str, dict[str, Any]] = {}
    for split, members in indices.items():
        if split in SPLITS or len(members):
            known = members[records.labelled[members]]
            found[split] = {"samples": len(members), "classes": records.counts(known) if split in SPLITS else {}}
    return found


def absent_classes(records: Records, chosen: NDArray[np.int64], noun: str) -> list[str]:
    """A line that names the classes of which none of the chosen samples is; none where all occur."""
    absent = [name for name, count in records.counts(chosen).items() if count == 0]
    return [f"no {noun} are of {listed(absent, 10)}: the other classes are scored"] if absent else []
