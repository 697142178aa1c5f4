"""What is left of a study where its run folders are gone: two small tables beside its plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_tl.choosing.study.outcome import Outcome
from lightning_tl.choosing.study.plan import Cell, labels_text
from lightning_tl.storage.partial_file import write_whole

RESULTS, SAMPLES = "results.parquet", "samples.parquet"


def write_kept(folder: Path, found: Mapping[Cell, tuple[Outcome, pd.DataFrame | None]]) -> None:
    """Write `results.parquet`, a row for each run, and `samples.parquet`, one for each test sample.

    Args:
        folder: of the study.
        found: what each run came to, and which test samples it had right (see `right_samples`); None for a run that
            was not tested. All were tested on the same samples.
    """
    rows, samples = [], None
    for cell, (outcome, right) in found.items():
        samples = right if samples is None else samples
        rows.append(
            {
                "arm": cell.arm,
                "labels": labels_text(cell.labels),
                "draw": cell.draw,
                "rate": cell.rate,
                **asdict(outcome),
                "curve": json.dumps(outcome.curve),
                "right": None if right is None else right["right"].astype("int8").tolist(),
            }
        )
    if samples is None:
        return
    named = samples.drop(columns="right").rename_axis("id").reset_index()
    for name, table in ((RESULTS, pd.DataFrame(rows)), (SAMPLES, named)):
        write_whole(folder / name, table.to_parquet(index=False))


class KeptResults:
    """Reads what `write_kept` wrote.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self._samples = pd.read_parquet(folder / SAMPLES).set_index("id")
        table = pd.read_parquet(folder / RESULTS)
        # Of floats alone "nothing to search" is read as NaN.
        rates = table["rate"].astype(object).where(table["rate"].notna(), None)
        self._rows: dict[tuple[str, str, int, float | None], dict[str, Any]] = {}
        for rate, row in zip(rates, table.to_dict("records"), strict=True):
            self._rows[row["arm"], row["labels"], int(row["draw"]), rate] = row

    def outcome(self, cell: Cell) -> Outcome | None:
        """What a run came to; None where it is not among them."""
        row = self._row(cell)
        if row is None:
            return None
        kept = {field.name: row[field.name] for field in fields(Outcome)}
        curve = tuple((int(step), float(loss)) for step, loss in json.loads(row["curve"]))
        return Outcome(**{**kept, "curve": curve, "error": row["error"] or None})

    def right(self, cell: Cell) -> pd.DataFrame | None:
        """Which test samples a run had right, as `right_samples` has it; None where it was not tested."""
        row = self._row(cell)
        if row is None or row["right"] is None:
            return None
        return self._samples.assign(right=row["right"].astype(bool))

    def _row(self, cell: Cell) -> dict[str, Any] | None:
        return self._rows.get((cell.arm, labels_text(cell.labels), cell.draw, cell.rate))
