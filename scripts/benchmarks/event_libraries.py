"""An event log read, numbered, sorted and freed of duplicates: this project, DuckDB and Polars, in time and memory.

    pip install duckdb polars
    python scripts/benchmarks/event_libraries.py

The log is that of `prepare_speed.py` with 5 million events, some of them repeated. Each way is a process of its own,
three times, with the threads that it takes by itself; it writes users, items, times and ids as `.npy` and Parquet.
Equal means the same bytes: users and items numbered as they first appear, events sorted by user and second, those of
one second in the order of the files, and the first of each user, item and second alone. The project checks every value
too, holds some million events at a time and names the row of a fault; the others do what is asked here and no more.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FIELDS = ("users", "items", "times")


def ours(files: list[Path], out: Path) -> None:
    from datamodules.events.reading.event_files import EventColumns, read_events

    log = read_events(files, EventColumns(), cache=out).taken
    for name in FIELDS:
        np.save(out / f"{name}.npy", getattr(log, name))
    for name in ("user", "item"):
        pq.write_table(pa.table({"id": pa.array(getattr(log, f"{name}_ids"), pa.large_string())}), out / name)


def by_duckdb(files: list[Path], out: Path) -> None:
    import duckdb

    database = duckdb.connect(str(out / "database"))
    names = ", ".join(f"'{file}'" for file in files)
    database.execute(
        f"create table events as select *, row_number() over () as place from read_parquet([{names}])"  # in order
    )
    for name in ("user", "item"):
        database.execute(
            f'create table {name}_ids as select "{name}", row_number() over (order by min(place)) - 1 as number '
            f'from events group by "{name}"'
        )
        ids = database.execute(f'select "{name}"::varchar as id from {name}_ids order by number').to_arrow_table()
        pq.write_table(ids, out / name)
    found = database.execute(
        "select u.number::integer as users, i.number::integer as items, e.time as times from events e "
        "join user_ids u using (user) join item_ids i using (item) "
        "qualify row_number() over (partition by u.number, i.number, e.time order by e.place) = 1 "
        "order by u.number, e.time, e.place"
    ).fetchnumpy()
    for name in FIELDS:
        np.save(out / f"{name}.npy", found[name])


def by_polars(files: list[Path], out: Path) -> None:
    import polars as pl

    events = pl.scan_parquet(files).with_row_index("place").collect()
    for name in ("user", "item"):
        ids = events.select(pl.col(name).unique(maintain_order=True)).with_row_index(f"{name}s")
        events = events.join(ids.with_columns(pl.col(f"{name}s").cast(pl.Int32)), on=name).drop(name)
        ids.select(pl.col(name).cast(pl.String).alias("id")).write_parquet(out / name)
    found = events.sort("users", "time", "place").unique(["users", "items", "time"], keep="first", maintain_order=True)
    for name in FIELDS:
        np.save(out / f"{name}.npy", found["time" if name == "times" else name].to_numpy())


WAYS: dict[str, Callable[[list[Path], Path], None]] = {"ours": ours, "duckdb": by_duckdb, "polars": by_polars}


LIBRARIES = {"ours": "datamodules.events.reading.event_files", "duckdb": "duckdb", "polars": "polars"}


def peak_gib() -> float:
    """Of this program; `getrusage` would count the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def digest(out: Path) -> str:
    found = hashlib.sha256()
    for name in FIELDS:
        found.update(np.load(out / f"{name}.npy").astype(np.int64).tobytes())
    for name in ("user", "item"):
        found.update("\n".join(pq.read_table(out / name)["id"].to_pylist()).encode())
    return found.hexdigest()[:12]


def write_log(folder: Path, events: int) -> None:
    from prepare_speed import PARTS, write_log

    write_log(folder, events, users=events // 40, items=events // 100, text=False)
    for part in range(0, PARTS, 2):  # every 50th event of these parts comes twice, the second time at the end
        file = folder / f"part-{part}.parquet"
        table = pq.read_table(file)
        pq.write_table(pa.concat_tables([table, table.take(np.arange(0, len(table), 50))]), file)


def measure(way: str, folder: Path) -> tuple[float, float, str]:
    """Seconds, peak GiB and digest of a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [sys.executable, __file__, "--way", way, "--log", str(folder / "log"), "--out", out]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{way}: {done.stderr}")
        seconds, peak = map(float, done.stdout.split()[-2:])
        return seconds, peak, digest(Path(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--way", choices=list(WAYS))
    parser.add_argument("--log", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.way:
        files = sorted(arguments.log.glob("*.parquet"))
        importlib.import_module(LIBRARIES[arguments.way])  # is no part of the time
        start = time.perf_counter()
        WAYS[arguments.way](files, arguments.out)
        print(time.perf_counter() - start, peak_gib())
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "log").mkdir()
        write_log(folder / "log", arguments.events)
        print(f"{arguments.events:,} events, medians of three")
        expected = None
        for way in WAYS:
            runs = [measure(way, folder) for _ in range(3)]
            seconds, peak = statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
            expected = expected or runs[0][2]
            same = "equal" if {run[2] for run in runs} == {expected} else "another result"
            print(f"{way:8} {seconds:6.1f} s  {peak:5.2f} GiB  {same}", flush=True)


if __name__ == "__main__":
    main()
