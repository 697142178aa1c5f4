"""Preparing a large event log: seconds and peak memory of the process that reads it.

    python scripts/benchmarks/prepare_speed.py
    python scripts/benchmarks/prepare_speed.py --ids text

A log with 20 million events of 500,000 users and 200,000 items, popular ones more often, is drawn with a fixed seed and
written to a temporary folder as Parquet in 8 parts. Then a process of its own reads it, once from the files and once
from what the first reading kept, and another one takes it to the first batch of training: windows, what was taken
first, profiles and rows of histories. Peaks are the largest resident memory of each process, with all libraries and
with the pages of memory-mapped files that the kernel could take back.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datamodules import InteractionDataModule
from datamodules.events.reading.event_files import EventColumns, read_events

PARTS = 8


def write_log(folder: Path, events: int, users: int, items: int, text: bool) -> None:
    """Write the log, a part at a time, in order of time over all users."""
    generator = np.random.default_rng(0)
    user_codes, item_codes = (generator.permutation(10 * count)[:count] for count in (users, items))
    start, seconds = 1_700_000_000, 90 * 86_400
    for part in range(PARTS):
        count = events * (part + 1) // PARTS - events * part // PARTS
        columns = {
            "user": user_codes[(users * generator.random(count) ** 2).astype(np.int64)],
            "item": item_codes[(items * generator.random(count) ** 3).astype(np.int64)],
        }
        times = start + np.sort(generator.integers(part * seconds // PARTS, (part + 1) * seconds // PARTS, count))
        named = {
            name: np.char.add(f"{name}-", values.astype(str)) if text else values for name, values in columns.items()
        }
        pq.write_table(pa.table({**named, "time": times}), folder / f"part-{part}.parquet")


def prepare(folder: Path) -> None:
    """Read the log twice, and print what it took."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        log = read_events(folder / "log", EventColumns(), cache=folder / "cache").taken
        seconds.append(time.perf_counter() - start)
    print(
        f"{len(log):,} events, {len(log.user_ids):,} users, {len(log.item_ids):,} items: prepared in "
        f"{seconds[0]:.1f} s, opened again in {seconds[1]:.1f} s, at most {peak_gib():.2f} GiB"
    )


def open_for_training(folder: Path) -> None:
    """Read the first batch of training, and print what it took."""
    start = time.perf_counter()
    data = InteractionDataModule(folder / "log", cache=folder / "cache", num_workers=0)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    print(
        f"{time.perf_counter() - start:.1f} s from there to the first batch of training, which has "
        f"{len(batch['target']):,} queries, at most {peak_gib():.2f} GiB"
    )


def peak_gib() -> float:
    """Of this process; Linux counts KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=500_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--ids", choices=("numbers", "text"), default="numbers")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)  # in the process that is measured
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.prepare or given.train:
        prepare(given.prepare) if given.prepare else open_for_training(given.train)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "log").mkdir()
        write_log(folder / "log", given.events, given.users, given.items, given.ids == "text")
        for part in ("--prepare", "--train"):
            subprocess.run([sys.executable, __file__, part, name], check=True)
    print("Aim for 20 million events on 2 cores: at most 120 s and 4 GiB.")


if __name__ == "__main__":
    main()
