"""`PredictionWriter`: predictions of unlabelled samples, written as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.reports.predictions import THRESHOLD, class_metadata, label_column


class PredictionWriter:
    """Writes the batches of one process to a part file; `merge_parts` joins the parts of all processes.

    Args:
        path: of the part file.
        class_names: of the entries of `probabilities`.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        self.path = path
        self.class_names = tuple(class_names)
        self._writer: pq.ParquetWriter | None = None
        self._several = False

    def write(self, index: NDArray[np.int64], ids: Sequence[str], probabilities: NDArray[np.float32]) -> None:
        """Add a batch: index [n], ids [n], probabilities [n, classes]."""
        if self._writer is None:
            # Rows that do not sum to 1 come from one sigmoid per class: any number of them may hold.
            self._several = bool((np.abs(probabilities.sum(1) - 1) > 1e-2).any())
        chosen = (probabilities >= THRESHOLD).astype(np.int64) if self._several else probabilities.argmax(1)
        table = pa.table(
            {
                "index": pa.array(index, pa.int64()),
                "id": pa.array(list(ids), pa.string()),
                "label": label_column(chosen, self.class_names),
                "probabilities": pa.array(list(probabilities), pa.list_(pa.float32())),
            }
        ).replace_schema_metadata(class_metadata(self.class_names))
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self.path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the part file; there is none when no batch came."""
        if self._writer is not None:
            self._writer.close()
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
    pq.write_table(table.drop_columns(["index"]).take(pa.array(first)), partial)
    partial.replace(path)
    for part in found:
        part.unlink()
    return len(first)
