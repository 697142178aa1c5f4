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
_BASELINE = -1  # in place of a draw


def write_kept(
    folder: Path,
    found: Mapping[Cell, tuple[Outcome, pd.DataFrame | None]],
    facts: Mapping[str, Any],
    baselines: Mapping[str, pd.DataFrame],
) -> None:
    """Write `results.parquet`, a row for each run, and `samples.parquet`, one for each test sample.

    Args:
        folder: of the study.
        found: what each run came to, and its test as `Measure.samples` has it; None for a run that was not tested. All
            were tested on the same samples.
        facts: by which the measure is found again, see `measure_of`.
        baselines: what simple baselines got on the same samples, by name; each has a row without an outcome.
    """
    rows, samples = [], None
    for cell, (outcome, table) in found.items():
        samples = table if samples is None else samples
        where = {"arm": cell.arm, "labels": labels_text(cell.labels), "draw": cell.draw, "rate": cell.rate}
        rows.append({**where, **asdict(outcome), "curve": json.dumps(outcome.curve), **_values(table, facts)})
    if samples is None:
        return
    for name, table in baselines.items():
        where = {"arm": name, "labels": labels_text(None), "draw": _BASELINE, "rate": None}
        rows.append({**where, **asdict(Outcome()), "curve": "[]", **_values(table, facts)})
    results = pd.DataFrame(rows).assign(measure=json.dumps(facts))
    named = samples.drop(columns="value").rename_axis("id").reset_index()
    for name, table in ((RESULTS, results), (SAMPLES, named)):
        write_whole(folder / name, table.to_parquet(index=False))


def _values(table: pd.DataFrame | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A sample's value is a right or a wrong of small size, or a number."""
    name, kind = ("value", "float64") if facts.get("task") in ("values", "retrieval") else ("right", "int8")
    return {name: None if table is None else table["value"].astype(kind).tolist()}


class KeptResults:
    """Reads what `write_kept` wrote.

    Args:
        folder: of the study.

    Attributes:
        facts: see `write_kept`.
    """

    def __init__(self, folder: Path) -> None:
        self._samples = pd.read_parquet(folder / SAMPLES).set_index("id")
        table = pd.read_parquet(folder / RESULTS)
        # Of floats alone "nothing to search" is read as NaN.
        rates = table["rate"].astype(object).where(table["rate"].notna(), None)
        self._rows: dict[tuple[str, str, int, float | None], dict[str, Any]] = {}
        self.facts: dict[str, Any] = json.loads(table["measure"].iloc[0]) if "measure" in table else {}
        for rate, row in zip(rates, table.to_dict("records"), strict=True):
            self._rows[row["arm"], row["labels"], int(row["draw"]), rate] = row

    def outcome(self, cell: Cell) -> Outcome | None:
        """What a run came to; None where it is not among them."""
        row = self._row(cell)
        if row is None:
            return None
        row = {"best": row["val_loss"], **row} if "val_loss" in row else row  # of earlier versions
        kept = {field.name: row[field.name] for field in fields(Outcome) if field.name in row}
        curve = tuple((int(step), float(value)) for step, value in json.loads(row["curve"]))
        return Outcome(**{**kept, "curve": curve, "error": row["error"] or None})

    def samples(self, cell: Cell) -> pd.DataFrame | None:
        """The test of a run, as `Measure.samples` has it; None where it was not tested."""
        row = self._row(cell)
        return None if row is None else self._table(row)

    def baselines(self) -> dict[str, pd.DataFrame]:
        """What simple baselines got on the same samples, by name."""
        found = {name: self._table(row) for (name, _, draw, _), row in self._rows.items() if draw == _BASELINE}
        return {name: table for name, table in found.items() if table is not None}

    def _table(self, row: Mapping[str, Any]) -> pd.DataFrame | None:
        values = row.get("value", row.get("right"))
        return None if values is None else self._samples.assign(value=values.astype(float))

    def _row(self, cell: Cell) -> dict[str, Any] | None:
        return self._rows.get((cell.arm, labels_text(cell.labels), cell.draw, cell.rate))
