"""`Predictions`: what a model said about a set of samples, and its Parquet file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.tasks import Values
from lightning_tl.tasks.several_labels import THRESHOLD

TaskName = Literal["one label", "several labels", "values", "other"]


@dataclass(frozen=True)
class Predictions:
    """Predictions, one row for each sample, ordered by index.

    Args:
        index: [n] stable number of each sample.
        probabilities: [n, classes], or whatever a task of your own puts out.
        target: [n] class numbers, [n, classes] of 0 and 1 for several labels, or [n, outputs] values.
        known_task: what the model says it learned; None where only shapes and values can tell.
        logits: as `probabilities`, before softmax or sigmoid; None where they were not kept.
    """

    index: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    target: NDArray[Any]
    known_task: str | None = None
    logits: NDArray[np.float32] | None = None

    @classmethod
    def from_batches(cls, batches: Sequence[Mapping[str, NDArray[Any]]], known_task: str | None = None) -> Predictions:
        """Join batches of all processes; a sample that a sampler repeated to fill a batch counts once."""
        index, first = np.unique(np.concatenate([batch["index"] for batch in batches]), return_index=True)
        names = [name for name in ("probabilities", "target", "logits") if all(name in batch for batch in batches)]
        joined = {name: np.concatenate([batch[name] for batch in batches])[first] for name in names}
        return cls(index, joined["probabilities"], joined["target"], known_task, joined.get("logits"))

    @property
    def task(self) -> TaskName:
        """One label for each sample, several, values, or a task of the user's own that has no classes."""
        if self.probabilities.ndim != 2:
            return "other"
        if self.known_task == Values.name and self.target.shape == self.probabilities.shape:
            return "values"
        if self.target.ndim == 1 and self.probabilities.shape[1] > 1 and np.issubdtype(self.target.dtype, np.integer):
            return "one label"
        if self.target.shape == self.probabilities.shape and np.isin(self.target, (0, 1)).all():
            return "several labels"
        return "other"

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[n] class numbers, or [n, classes] of 0 and 1 for several labels; of classes alone."""
        if self.task == "several labels":
            return (self.probabilities >= THRESHOLD).astype(np.int64)
        best: NDArray[np.int64] = self.probabilities.argmax(1).astype(np.int64)
        return best

    def correct(self) -> NDArray[np.float64]:
        """[n] 1 where the prediction is right; for several labels the share of the sample's labels that is."""
        equal: NDArray[np.float64] = np.asarray(self.predicted == self.target, dtype=np.float64)
        return equal if equal.ndim == 1 else equal.mean(1)

    def write(
        self, path: Path, ids: Sequence[str], class_names: Sequence[str], blocks: NDArray[Any] | None = None
    ) -> None:
        """Write a Parquet file with columns id, label (the true one), predicted and, of classes, probabilities.

        Args:
            path: of the file.
            ids: names of the samples.
            class_names: in the order of the class numbers.
            blocks: [n] block of each sample, for a column `block`; None where samples are independent.
        """
        columns: dict[str, Any] = {"id": pa.array(list(ids), pa.string())}
        if self.task == "values":
            columns |= {"label": value_column(self.target), "predicted": value_column(self.probabilities)}
            return self._write(path, columns, class_names, blocks)
        if self.task == "other":
            columns["label"] = pa.array(self.target.tolist())
        else:
            columns["label"] = label_column(self.target, class_names)
            columns["predicted"] = label_column(self.predicted, class_names)
        columns["probabilities"] = pa.array(self.probabilities.tolist())
        if self.probabilities.ndim == 2:
            columns["probabilities"] = columns["probabilities"].cast(pa.list_(pa.float32()))
        return self._write(path, columns, class_names, blocks)

    @staticmethod
    def _write(
        path: Path, columns: dict[str, Any], class_names: Sequence[str], blocks: NDArray[Any] | None = None
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if blocks is not None:
            columns = {**columns, "block": pa.array(np.asarray(blocks))}
        table = pa.table(columns).replace_schema_metadata(class_metadata(class_names))
        pq.write_table(table, path)


def class_metadata(class_names: Sequence[str]) -> dict[str, str]:
    """Schema metadata that says which class each entry of `probabilities` belongs to."""
    return {"class_names": json.dumps(list(class_names), ensure_ascii=False)}


def calibration_metadata(temperature: float | None) -> dict[str, str]:
    """Schema metadata that says at which temperature the probabilities are; none where they are as the model gives."""
    return {} if temperature is None else {"calibration_temperature": repr(temperature)}


def read_class_names(schema: pa.Schema) -> list[str]:
    """The class names that `class_metadata` put there."""
    return list(json.loads((schema.metadata or {}).get(b"class_names", b"[]")))


def value_column(values: NDArray[Any]) -> pa.Array:
    """Values [n, outputs] as numbers, or as lists of them where there are several outputs; [n] as numbers."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1:
        return pa.array(values)
    return pa.array(values.tolist())


def label_column(labels: NDArray[Any], class_names: Sequence[str]) -> pa.Array:
    """Class numbers [n] as names, or [n, classes] of 0 and 1 as lists of names."""
    if labels.ndim == 1:
        return pa.array([class_names[int(k)] for k in labels], pa.string())
    return pa.array([[class_names[int(k)] for k in np.flatnonzero(row)] for row in labels], pa.list_(pa.string()))
