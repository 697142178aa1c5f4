"""The finished embeddings, as Parquet or NumPy files that are whole or not there."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.embedding.parts.part_folder import embedding_column
from lightning_tl.storage.partial_file import fresh_file

SUFFIXES = (".parquet", ".npy")
_ROWS_AT_ONCE = 16_384


class OutputFile:
    """Where embeddings go: `.parquet` with columns `id` and `embedding`, or `.npy` [n, dim] with the ids beside it.

    What the embeddings are is told by the Parquet file's metadata, for `.npy` by that of `NAME.ids.parquet`.

    Args:
        path: of the file.
        overwrite: replace a file that is there.

    Raises:
        ValueError: another suffix, or a file that is there already.
        OSError: there is no such folder, or it cannot be written to.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"the output must end in {' or '.join(SUFFIXES)}, got {path}")
        if path.is_dir():
            raise ValueError(f"the output {path} is a folder; name a file")
        if path.exists() and not overwrite:
            raise ValueError(f"the output {path} is there already; choose another name, or replace it with --overwrite")
        self.path = path
        _check_writable(path)

    @property
    def parts(self) -> Path:
        """The folder of an unfinished result."""
        return self.path.with_name(f"{self.path.name}.parts")

    @property
    def ids_path(self) -> Path:
        """The file of the ids, for `.npy`."""
        return self.path.with_suffix(".ids.parquet")

    def write(
        self,
        ids: Sequence[str],
        dim: int,
        parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
        metadata: Mapping[str, str],
    ) -> None:
        """Put the parts together in the order of the data, then move the file to its place.

        Args:
            ids: [n].
            dim: length of an embedding.
            parts: rows of the result with what stands in them, as `PartFolder.read` gives them.
            metadata: written into the file: where the embeddings come from.

        Raises:
            ValueError: the parts do not hold every row.
        """
        scratch = self.path.with_name(f".{self.path.name}.partial.npy")
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            fresh_file(scratch).close()
            array = np.lib.format.open_memmap(scratch, "w+", np.float32, (len(ids), dim))
            there = np.zeros(len(ids), bool)
            for rows, values in parts:
                array[rows] = values
                there[rows] = True
            if not there.all():
                raise ValueError(f"{len(ids) - int(there.sum())} of {len(ids)} embeddings are missing; start again")
            array.flush()
            if self.path.suffix.lower() == ".npy":
                _write_table(partial, ids, None, metadata)
                _settle(partial, self.ids_path)
                _settle(scratch, self.path)
            else:
                _write_table(partial, ids, array, metadata)
                _settle(partial, self.path)
        finally:
            scratch.unlink(missing_ok=True)
            partial.unlink(missing_ok=True)


def _write_table(
    path: Path, ids: Sequence[str], array: NDArray[np.float32] | None, metadata: Mapping[str, str]
) -> None:
    fields = [("id", pa.string())]
    if array is not None:
        fields.append(("embedding", pa.list_(pa.float32(), array.shape[1])))
    schema = pa.schema(fields).with_metadata(dict(metadata))
    with (
        fresh_file(path) as file,
        pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer,
    ):
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            columns: list[pa.Array] = [pa.array(list(ids[rows]), pa.string())]
            if array is not None:
                columns.append(embedding_column(np.ascontiguousarray(array[rows])))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _settle(partial: Path, path: Path) -> None:
    """Flush a file to the disk and move it to its place."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def _check_writable(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        above = folder.parent
        names = [entry.name for entry in above.iterdir() if entry.is_dir()] if above.is_dir() else []
        near = difflib.get_close_matches(folder.name, names, n=1)
        hint = f" (nearest: {above / near[0]})" if near else ""
        raise FileNotFoundError(f"there is no folder {folder} for the output{hint}; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(f"the folder {folder} of the output cannot be written to: {error.strerror}") from None
