"""What the labels of records are: one for each sample, several, or values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from datamodules.labelled.records import SPLITS, Records, check_classes, listed
from datamodules.labelled.value_columns import standardising
from lightning_tl.contracts.notice import Notice
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.tasks import OneLabel, SeveralLabels, Task, Values


def task_of_records(records: Records, train: NDArray[np.int64], run: RunDescription | None, where: str) -> Task:
    """The task that the labels' type and shape say.

    Args:
        records: samples with their labels.
        train: training samples; of a finished run, whose checkpoint knows mean and deviation, there may be none.
        run: whose model reads the records.
        where: the data, for messages.

    Raises:
        ValueError: labels of another kind than the run's, or values that cannot be learned.
    """
    labels = records.labels
    if run is not None and len(train) == 0:
        found = OneLabel.name if labels.ndim == 1 else Values.name if labels.dtype.kind == "f" else SeveralLabels.name
        if (
            run.task in (OneLabel.name, SeveralLabels.name, Values.name)
            and run.task != found
            and records.labelled.any()
        ):
            raise ValueError(f"the run's model learned {run.task}, but the targets of {where} are {found}: set task")
        if run.task == Values.name:
            outputs = len(run.class_names)
            return Values([0.0] * outputs, [1.0] * outputs)  # the checkpoint has the true ones
        return SeveralLabels() if run.task == SeveralLabels.name else OneLabel()
    if labels.dtype.kind == "f":
        return standardising(labels[train], records.class_names, where)
    return OneLabel() if labels.ndim == 1 else SeveralLabels()


def check_targets(records: Records, indices: Mapping[str, NDArray[np.int64]], noun: str, where: str) -> None:
    """Check that there is something to learn.

    Raises:
        ValueError: a class that training or validation has not, a label that no training sample has, or no samples.
    """
    if records.labels.ndim == 1:
        check_classes(records, dict(indices), noun)
        return
    for split, word in (("train", "training"), ("validation", "validation")):
        if len(indices[split]) == 0:
            raise ValueError(f"{where} has no {noun} for {word}")
    if records.labels.dtype.kind == "f":
        return
    counts = {split: records.counts(indices[split]) for split in SPLITS}
    missing = [name for name in records.class_names if counts["train"][name] == 0]
    if missing:
        table = "; ".join(f"'{n}' has {', '.join(f'{counts[s][n]} {s}' for s in SPLITS)} {noun}" for n in missing[:10])
        raise ValueError(
            f"{len(missing)} of {len(records.class_names)} labels are missing from training: {table}. Add {noun} with "
            "these labels to that split, or leave the labels out"
        )
    always = [name for name in records.class_names if counts["train"][name] == len(indices["train"])]
    if always:
        rank_zero_warn(
            f"every training sample has {listed(always)}: where that is missing cannot be learned", category=Notice
        )
    for split in ("validation", "test"):
        absent = [name for name in records.class_names if counts[split][name] == 0]
        if absent and len(indices[split]):
            rank_zero_warn(
                f"no {noun} in {split} with {listed(absent)}: how well that is found is not measured there",
                category=Notice,
            )


def target_of(records: Records, index: int) -> Any:
    """What is to be learned of a sample: its class number, or its row of labels or values."""
    label = records.labels[index]
    return int(label) if records.labels.ndim == 1 else label


def as_targets(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as batches hold them: class numbers int64, rows float32."""
    return labels if labels.ndim == 1 else labels.astype(np.float32)


def with_columns_of(labels: NDArray[Any], found: tuple[str, ...], names: tuple[str, ...], where: str) -> NDArray[Any]:
    """Rows of labels or values in the order of a run's names; a label that does not occur is 0.

    Raises:
        ValueError: a value that is not there.
    """
    places = {name: k for k, name in enumerate(found)}
    lacking = [name for name in names if name not in places]
    if lacking and labels.dtype.kind == "f":
        raise ValueError(f"{where} has no {', '.join(lacking)}, which the run's model predicts")
    empty = np.zeros(len(labels), labels.dtype)
    return np.stack([labels[:, places[name]] if name in places else empty for name in names], axis=1)
