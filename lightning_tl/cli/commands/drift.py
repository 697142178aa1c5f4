"""`distance --times`: whether a run's score on its test falls or rises with the samples' time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from datamodules.tables.tables import check_columns, read_table, row_names
from lightning_tl.choosing.shift.score_trend import ScoreTrend, score_trend
from lightning_tl.choosing.study.measures import measure_facts
from lightning_tl.cli.commands.distance_options import DriftOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.retrieval.judging.rank_gains import rank_gains
from lightning_tl.retrieval.judging.rank_report import telling_metric
from lightning_tl.storage.partial_file import write_whole


def run_drift(options: DriftOptions) -> None:
    """Print the scores by window and their trend, and write them where that is asked for.

    Args:
        options: from `read_distance_options`.

    Raises:
        UserError: a run that was not tested or has no accuracy, times that are none, or none of the test's samples.
    """
    if options.table is None:
        _of_log(options)
        return
    ids, right = _right(options)
    times = _times(options, options.table)
    known = np.array([name in times for name in ids])
    if not known.any():
        raise UserError(
            f"none of the {len(ids):,} samples that {options.run} was tested on, such as {ids[0]}, is named in "
            f"{options.table}, such as {next(iter(times))}: name the column of names with --id"
        )
    seconds = np.array([times[name] for name in ids if name in times])
    found = score_trend(right[known], seconds, options.windows)
    print("\n".join(drift_lines(found, int(known.sum()), len(ids))), flush=True)
    if options.output is not None:
        content = {"kind": "concept drift", "run": str(options.run), **asdict(found)}
        write_whole(options.output, json.dumps(content, indent=2) + "\n")


def _of_log(options: DriftOptions) -> None:
    """The run's own test queries of an event log, beside the simple baselines' on the same ones."""
    file = options.run / "predictions" / "test.parquet"
    if not file.is_file():
        raise UserError(f"{options.run} has no predictions/test.parquet: test the run, with test --run {options.run}")
    table = pd.read_parquet(file)
    ranks = [name for name in table if str(name).startswith("rank_")]
    if not ranks or not {"time", "user"} <= set(table):
        raise UserError(f"{file} has no queries of an event log: name a table with --times TABLE and --time COLUMN")
    metric = telling_metric(int(measure_facts(options.run).get("items", table["item"].nunique())))
    content: dict[str, Any] = {"kind": "concept drift", "run": str(options.run), "metric": metric, "models": {}}
    for name in ranks:
        gains = rank_gains(table[name].to_numpy(), metric)
        found = score_trend(gains, table["time"].to_numpy(np.float64), options.windows, table["user"].to_numpy())
        model = name.removeprefix("rank_")
        content["models"][model] = asdict(found)
        if name == ranks[0]:
            print("\n".join(drift_lines(found, len(table), len(table), f"{metric} of {model}")), flush=True)
            print("\nOn the same queries, whose windows may be harder or easier for all:")
        else:
            ends = f"95% interval {found.low:+.3f} to {found.high:+.3f}, p {found.p_value:.2g}"
            print(f"  {model}: {found.slope:+.3f} from the first to the last ({ends})", flush=True)
    if options.output is not None:
        write_whole(options.output, json.dumps(content, indent=2) + "\n")


def drift_lines(found: ScoreTrend, dated: int, total: int, what: str = "accuracy") -> list[str]:
    """A table of windows, and the trend in words; times are seconds since 1970."""
    lines = [f"concept drift: {what} of {dated:,} of {total:,} samples of the test, by time", ""]
    for window in found.windows:
        start, end = (pd.Timestamp(at, unit="s").strftime("%Y-%m-%d %H:%M") for at in (window.start, window.end))
        score = window.score
        lines.append(
            f"  {start} to {end}  {score.samples:>6,} samples  {score.mean:.3f} (95% interval {score.low:.3f} to "
            f"{score.high:.3f})"
        )
    clear = found.p_value <= 0.05
    way = "falls" if found.slope < 0 else "rises"
    said = f"The {what} {way} with time" if clear else f"That the {what} falls or rises with time is not established"
    return [
        *lines,
        "",
        f"{said}: {found.slope:+.3f} from the first to the last (95% interval {found.low:+.3f} to {found.high:+.3f}, p "
        f"{found.p_value:.2g}; Mann-Kendall tau {found.tau:+.2f}, p {found.tau_p_value:.2g}).",
        "Why is not known by that: what labels mean may have changed (concept drift proper), or inputs (covariate "
        "shift), or shares of classes (label shift).",
    ]


def _right(options: DriftOptions) -> tuple[list[str], NDArray[np.float64]]:
    file = options.run / "predictions" / "test.parquet"
    if not file.is_file():
        raise UserError(f"{options.run} has no predictions/test.parquet: test the run, with test --run {options.run}")
    table = pq.read_table(file)
    if not {"id", "label", "predicted"} <= set(table.column_names) or str(table.schema.field("label").type) != "string":
        raise UserError(f"{file} has no labels that are right or wrong: drift is measured on one label a sample")
    pairs = zip(table["label"].to_pylist(), table["predicted"].to_pylist(), strict=True)
    return table["id"].to_pylist(), np.array([float(label == said) for label, said in pairs])


def _times(options: DriftOptions, path: Path) -> dict[str, float]:
    """Seconds since 1970 of each sample's name."""
    table = read_table(path)
    wanted = {"time": options.time} | ({"id": options.id} if options.id else {})
    check_columns(table, wanted, path)
    column = table[options.time]
    numbers = None if pd.api.types.is_datetime64_any_dtype(column) else pd.to_numeric(column, errors="coerce")
    if numbers is not None and numbers.notna().any():  # of separated files, cells are texts
        seconds = numbers.to_numpy(np.float64, na_value=np.nan)
    else:
        try:
            moments = pd.to_datetime(column, utc=True, format="mixed")
        except (ValueError, TypeError) as error:
            raise UserError(f"{options.time} of {path} must hold dates: {str(error).splitlines()[0]}") from None
        epoch = pd.Timestamp(0, tz="UTC")
        seconds = ((moments - epoch) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
    if bad := int((~np.isfinite(seconds)).sum()):
        raise UserError(f"{options.time} of {path} must be a time in every row; {bad} rows have none")
    names = [str(name) for name in table[options.id]] if options.id else row_names(table)
    if len(set(names)) < len(names):
        raise UserError(f"{options.id} of {path} names {len(names) - len(set(names))} rows twice")
    return dict(zip(names, seconds.tolist(), strict=True))
