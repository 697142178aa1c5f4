"""Records as a finished run's model knows them, and what a run notes of the records that it learned from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
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
        run: whose model reads the samples.
        records: samples with the classes that the data name.
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
    """How many samples each split has, how many of them each class, and a hash of what they are."""
    found: dict[str, dict[str, Any]] = {}
    for split, members in indices.items():
        if split in SPLITS or len(members):
            known = members[records.labelled[members]]
            counts = records.counts(known) if split in SPLITS else {}
            found[split] = {"samples": len(members), "classes": counts, "sha256": _digest(records, members)}
    return found


def _digest(records: Records, members: NDArray[np.int64]) -> str:
    """A hash of samples and their labels, in whatever order: texts by what they say, others by their names."""
    texts, seconds = getattr(records, "texts", None), getattr(records, "seconds", None)

    def line(index: int) -> str:
        label, what = records.labels[index].tolist(), [records.ids[index]]
        if texts is not None:
            what = [texts[index], seconds[index] if seconds is not None else ""]
        known = records.labels.ndim == 1 and records.labels.dtype.kind != "f" and label >= 0
        return json.dumps([what, records.class_names[label] if known else label])

    lines = sorted(line(index) for index in members.tolist())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def changed_since(
    run: RunDescription | None, records: Records, indices: Mapping[str, NDArray[np.int64]], source: str, noun: str
) -> list[str]:
    """A line for each split that is not as the run had it: what it was trained on may lie elsewhere now.

    Args:
        run: None for one that begins.
        records: the samples of today.
        indices: the samples of the splits to compare.
        source: where they come from.
        noun: what they are called.
    """
    notes = []
    for split, now in split_counts(records, indices).items():
        before = run.splits.get(split, {}) if run is not None else {}
        if "sha256" in before and before["sha256"] != now["sha256"]:
            had, has = before["samples"], now["samples"]
            numbers = f"{had:,} {noun} then and has {has:,} now" if had != has else f"other {noun} then"
            notes.append(
                f"{source} has changed since the run was trained: its {split} split had {numbers}; some may have "
                "been on another side"
            )
    return notes


def absent_classes(records: Records, chosen: NDArray[np.int64], noun: str) -> list[str]:
    """A line that names the classes of which none of the chosen samples is; none where all occur."""
    absent = [name for name, count in records.counts(chosen).items() if count == 0]
    return [f"no {noun} are of {listed(absent, 10)}: the other classes are scored"] if absent else []
