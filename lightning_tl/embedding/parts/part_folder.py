"""`PartFolder`: what is done of a job of embedding, kept on disk until all of it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.storage.partial_file import fresh_file

_JOB, _BATCHES = b"lightning_tl.job", b"lightning_tl.contracts.batches"


def embedding_column(values: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Rows [n, dim] as a column of lists of that length."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), pa.float32()), values.shape[1])


class PartFolder:
    """Files that hold whole batches each, and say of which job.

    A file is written beside its place and moved there, so that it is whole or not there. Any number of processes may
    write to the folder; the first opens it.

    Args:
        folder: made when it is opened.
        job: what decides the bits of the result: model, data and settings, by name.
    """

    def __init__(self, folder: Path, job: Mapping[str, str]) -> None:
        self.folder, self.job = folder, dict(job)

    def open(self, anew: bool = False) -> None:
        """Make the folder, or take up what an interrupted job left there.

        Args:
            anew: remove what another job left there.

        Raises:
            ValueError: another job's parts are there; the message says in what they differ.
        """
        self.folder.mkdir(exist_ok=True)
        for file in self.folder.iterdir():
            if file.suffix == ".partial":
                file.unlink()
        for file in self._files():
            try:
                metadata = pq.read_metadata(file).metadata
                job = json.loads(metadata[_JOB])
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
                file.unlink()  # half a file, after a power cut: its batches are computed again
                continue
            if job == self.job:
                continue
            if not anew:
                raise ValueError(
                    f"{self.folder} holds the unfinished embeddings of another job ({self._differences(job)}); finish "
                    "them with the command that began them, or add --overwrite to start anew"
                )
            file.unlink()

    def _differences(self, job: Mapping[str, str]) -> str:
        names = [name for name in {**self.job, **job} if self.job.get(name) != job.get(name)]
        return "; ".join(
            f"{name} {_short(job.get(name, 'unknown'))} there, {_short(self.job.get(name, 'unknown'))} here"
            for name in names
        )

    def done(self) -> set[int]:
        """Numbers of the batches that are there."""
        found: set[int] = set()
        for file in self._files():
            found |= set(json.loads(pq.read_metadata(file).metadata[_BATCHES]))
        return found

    def write(self, batches: Sequence[int], rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Keep batches: their numbers, their rows of the result [n], and those rows [n, dim]."""
        table = pa.table({"row": rows, "embedding": embedding_column(values)})
        notes = {_JOB: json.dumps(self.job), _BATCHES: json.dumps(list(batches))}
        path = self.folder / f"part-{min(batches):08d}-{max(batches):08d}.parquet"
        partial = path.with_suffix(".partial")
        with fresh_file(partial) as file:
            pq.write_table(table.replace_schema_metadata(notes), file, compression="none", use_dictionary=False)
        os.replace(partial, path)

    def read(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Rows of the result [n] with what stands in them [n, dim], part by part."""
        for file in self._files():
            table = pq.read_table(file).combine_chunks()
            rows = table["row"].to_numpy()
            yield rows, table["embedding"].chunk(0).flatten().to_numpy().reshape(len(rows), -1)

    def remove(self) -> None:
        """Remove all of it, when the result stands elsewhere."""
        shutil.rmtree(self.folder)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:12]}…"
