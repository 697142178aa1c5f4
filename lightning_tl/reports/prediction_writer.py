"""`PredictionWriter`: predictions of unlabelled samples, written as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.reports.predictions import calibration_metadata, class_metadata, label_column, value_column
from lightning_tl.storage.partial_file import fresh_file
from lightning_tl.tasks import SeveralLabels, Values
from lightning_tl.tasks.several_labels import THRESHOLD


class PredictionWriter:
    """Writes the batches of one process to a part file; `merge_parts` joins the parts of all processes.

    Args:
        path: of the part file.
        class_names: of the entries of `probabilities`.
        task: what the model says it learned; None where only the probabilities can tell.
        temperature: by which logits were divided, which the file's metadata says; None for none.
    """

    def __init__(
        self, path: Path, class_names: Sequence[str], task: str | None = None, temperature: float | None = None
    ) -> None:
        self.path = path
        self._metadata = class_metadata(class_names) | calibration_metadata(temperature)
        self.class_names = tuple(class_names)
        self._writer: pq.ParquetWriter | None = None
        self.task = task
        self._several = task == SeveralLabels.name

    def write(
        self, index: NDArray[np.int64], ids: Sequence[str], outputs: NDArray[np.float32] | Mapping[str, NDArray[Any]]
    ) -> None:
        """Add a batch: index [n], ids [n], and what the model said of them by name.

        Args:
            index: [n] places in the data set.
            ids: [n] names of the samples.
            outputs: `probabilities` [n, classes], or values in their place; or the outputs [n, …] of several heads.
        """
        table = self.table(index, ids, outputs)
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = fresh_file(self.path)
            self._writer = pq.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def table(
        self, index: NDArray[np.int64], ids: Sequence[str], outputs: NDArray[np.float32] | Mapping[str, NDArray[Any]]
    ) -> pa.Table:
        """What `write` adds, as a table."""
        outputs = outputs if isinstance(outputs, Mapping) else {"probabilities": outputs}
        columns = {"index": pa.array(index, pa.int64()), "id": pa.array(list(ids), pa.string())}
        if set(outputs) != {"probabilities"}:
            columns |= {name: value_column(values) for name, values in outputs.items() if name not in columns}
        elif self.task == Values.name:
            columns["predicted"] = value_column(outputs["probabilities"])
        elif outputs["probabilities"].ndim != 2:
            columns["probabilities"] = value_column(outputs["probabilities"])
        else:
            columns |= self._classes(outputs["probabilities"])
        return pa.table(columns).replace_schema_metadata(self._metadata)

    def _classes(self, probabilities: NDArray[np.float32]) -> dict[str, pa.Array]:
        """The columns label and probabilities; of a single output that is no label's, the latter alone."""
        column = {"probabilities": pa.array(list(probabilities), pa.list_(pa.float32()))}
        if probabilities.shape[1] == 1 and self.task != SeveralLabels.name:
            return column
        if self._writer is None and self.task is None:
            # Rows that do not sum to 1 come from one sigmoid per class: any number of them may hold.
            self._several = bool((np.abs(probabilities.sum(1) - 1) > 1e-2).any())
        chosen = (probabilities >= THRESHOLD).astype(np.int64) if self._several else probabilities.argmax(1)
        return {"label": label_column(chosen, self.class_names), **column}

    def close(self) -> None:
        """Finish the part file; there is none when no batch came."""
        if self._writer is not None:
            self._writer.close()
            self._file.close()
            self._writer = None


def merge_parts(parts: Sequence[Path], path: Path) -> int:
    """Join part files into `path`, each sample once and in the order of the data, and remove them.

    Returns:
        number of rows.

    Raises:
        ValueError: when no process predicted anything.
    """
    found = [part for part in parts if part.is_file()]
    if not found:
        raise ValueError("no predictions were made: the data module's predict_dataloader has no samples")
    table = pa.concat_tables([pq.read_table(part) for part in found])
    _, first = np.unique(table.column("index").to_numpy(), return_index=True)  # sorted; a sampler may repeat samples
    partial = path.with_name(path.name + ".part")
    with fresh_file(partial) as file:
        pq.write_table(table.drop_columns(["index"]).take(pa.array(first)), file)
    partial.replace(path)
    for part in found:
        part.unlink()
    return len(first)
