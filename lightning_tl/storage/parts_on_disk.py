"""`PartsOnDisk`: a table that is written part by part, by one process or several, and goes on where it was."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lightning_tl.storage.partial_file import write_whole


class PartsOnDisk:
    """Parts beside the output, each written whole, and joined in order when all are there.

    Args:
        output: the Parquet file.
        job: what the parts depend on; those of another job are refused.
        count: how many parts there are.
    """

    def __init__(self, output: Path, job: dict[str, object], count: int) -> None:
        self.output, self.job, self.count = output, job, count
        self.folder = output.with_name(f"{output.name}.parts")

    def begin(self, overwrite: bool) -> None:
        """Make the folder, by one process.

        Raises:
            ValueError: the output is there already, or parts of another job are.
        """
        card = self.folder / "job.json"
        if overwrite and card.is_file() and json.loads(card.read_text(encoding="utf-8")) != self.job:
            shutil.rmtree(self.folder)
        if self.output.exists() and not overwrite:
            raise ValueError(f"{self.output} is there already: take another name, or add --overwrite")
        if card.is_file() and json.loads(card.read_text(encoding="utf-8")) != self.job:
            raise ValueError(
                f"{self.folder} holds parts of another job (other rows, settings, model or index): finish that one, or "
                "add --overwrite to drop them"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(card, json.dumps(self.job))

    def left(self, rank: int, ranks: int) -> list[int]:
        """The parts of this process that are not there."""
        return self.missing(range(rank, self.count, ranks))

    def missing(self, some: Iterable[int]) -> list[int]:
        """Those of some parts that are not there."""
        return [part for part in some if not self._path(part).is_file()]

    def write(self, part: int, make: Callable[[], pd.DataFrame | pa.Table]) -> None:
        """Make and keep a part."""
        content, made = io.BytesIO(), make()
        if isinstance(made, pa.Table):
            pq.write_table(made, content)
        else:
            made.to_parquet(content, index=False)
        write_whole(self._path(part), content.getvalue())

    def finish(self) -> int:
        """Join the parts, by one process when all are there; the rows of the output."""
        partial, rows = self.output.with_name(f"{self.output.name}.part"), 0
        with pq.ParquetWriter(partial, pq.read_schema(self._path(0))) as writer:
            for part in range(self.count):
                table = pq.read_table(self._path(part))
                writer.write_table(table)
                rows += table.num_rows
        partial.replace(self.output)
        shutil.rmtree(self.folder)
        return rows

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part:06}.parquet"
