"""`PredictionWriter`: predictions of unlabelled samples, written as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.reports.predictions import THRESHOLD, class_metadata, label_column

_ROWS_AT_ONCE = 8192


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
    """Join part files into `path`, each sample once, and remove them.

    Returns:
        number of rows.

    Raises:
        ValueError: when no process predicted anything.
    """
    found = [part for part in parts if part.is_file()]
    if not found:
        raise ValueError("no predictions were made: the data module's predict_dataloader has no samples")
    schema = pq.read_schema(found[0])
    schema = schema.remove(schema.get_field_index("index"))
    partial, rows = path.with_name(path.name + ".part"), 0
    with pq.ParquetWriter(partial, schema) as writer:
        for batch in _fresh_rows(found):
            writer.write_batch(batch)
            rows += batch.num_rows
    partial.replace(path)
    for part in found:
        part.unlink()
    return rows


def _fresh_rows(parts: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """The rows of all parts without the index column, those with an index already seen left out."""
    seen: set[int] = set()
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                keep = []
                for index in batch.column("index").to_pylist():
                    keep.append(index not in seen)
                    seen.add(index)
                yield batch.drop_columns(["index"]).filter(pa.array(keep, pa.bool_()))
