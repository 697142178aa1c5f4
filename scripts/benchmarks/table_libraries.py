"""Tables as people bring them, read by this project, pandas, Polars, DuckDB and datasets: right, refused, or wrong?

    pip install duckdb polars
    python scripts/benchmarks/table_libraries.py

Each way reads the same files of two columns with its own defaults. A file is either good, with one right content as
text, or has a fault that must be told. "names the row" is an error whose message holds the number of the line or row;
"refused" is any other error; "changed" is a table that is not what the file says, without a word. At the end, seconds
for a million rows, in turns, medians of three.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[list[Any]]
Reader = Callable[[Path], Rows]

BIG = 2**53 + 1
# name of the file, bytes, what is right (None: a fault), row of the fault (1 is the first below the header)
CASES: dict[str, tuple[str, bytes, Rows | None, int | None]] = {
    "ids with leading zeros": ("t.csv", b"text,label\ngood,007\nbad,042\n", [["good", "007"], ["bad", "042"]], None),
    "the texts NA, null and nan": (
        "t.csv",
        b"text,label\nNA,a\nnull,b\nnan,c\n",
        [["NA", "a"], ["null", "b"], ["nan", "c"]],
        None,
    ),
    "a comma, a quote and a line break in a cell": (
        "t.csv",
        b'text,label\n"a, ""b""\nc",x\nd,y\n',
        [['a, "b"\nc', "x"], ["d", "y"]],
        None,
    ),
    "semicolons, as spreadsheets write": ("t.csv", b"text;label\ngood;a\nbad;b\n", [["good", "a"], ["bad", "b"]], None),
    "a byte order mark": ("t.csv", b"\xef\xbb\xbftext,label\ngood,a\n", [["good", "a"]], None),
    "a large whole number beside a missing one": (
        "t.jsonl",
        b'{"text": "a", "label": %d}\n{"text": "b", "label": null}\n' % BIG,
        [["a", str(BIG)], ["b", None]],
        None,
    ),
    "a row with a cell too many": ("t.csv", b"text,label\ngood,a\nwell, really,b\nbad,c\n", None, 2),
    "a row with a cell too few": ("t.csv", b"text,label\ngood,a\nbad\n", None, 2),
    "a row with a cell too many at the end of each": ("t.csv", b"text,label\ngood,a,1\nbad,b,2\n", None, 1),
    "a quote that is never closed": ("t.csv", b'text,label\n"good,a\nbad,b\n', None, 1),
    "a column twice": ("t.csv", b"text,text\ngood,a\n", None, None),
    "not UTF-8": ("t.csv", b"text,label\ngood,a\nsch\xf6n,b\n", None, 2),
    "a line that is no JSON": ("t.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b", \n', None, 2),
}


def ours(path: Path) -> Rows:
    from datamodules.tables.tables import read_table

    return _as_text(read_table(path).itertuples(index=False))


def by_pandas(path: Path) -> Rows:
    import pandas as pd

    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_json(path, lines=True)
    return _as_text(table.astype(object).where(table.notna(), None).itertuples(index=False))


def by_polars(path: Path) -> Rows:
    import polars as pl

    table = pl.read_csv(path) if path.suffix == ".csv" else pl.read_ndjson(path)
    return _as_text(table.iter_rows())


def by_duckdb(path: Path) -> Rows:
    import duckdb

    return _as_text(duckdb.sql(f"select * from '{path}'").fetchall())


def by_datasets(path: Path) -> Rows:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    kind = "csv" if path.suffix == ".csv" else "json"
    found = load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))
    return _as_text(row.values() for row in found)


READERS: dict[str, Reader] = {
    "this project": ours,
    "pandas": by_pandas,
    "polars": by_polars,
    "duckdb": by_duckdb,
    "datasets": by_datasets,
}


def _as_text(rows: Any) -> Rows:
    return [[None if value is None else str(value) for value in row] for row in rows]


def verdict(read: Reader, name: str, content: bytes, right: Rows | None, row: int | None) -> str:
    """What becomes of one file."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stderr(None):
        warnings.simplefilter("ignore")
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            found = read(path)
        except Exception as error:
            told = f"{error} {error.__cause__ or ''}".replace(folder, "")
            numbers = {int(number) for number in re.findall(r"\d+", told)}
            return "names the row" if row is not None and numbers & {row, row + 1} else "refused"
    return "right" if found == right else "changed"


def million(folder: Path) -> Path:
    """A good table of a million rows."""
    path = folder / "million.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        file.writelines(
            f'"the {k}th text, of {k % 97} words and more of them",class {k % 7}\n' for k in range(1_000_000)
        )
    return path


def main() -> None:
    """Print the table of verdicts and the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    verdicts = {case: {name: verdict(read, *file) for name, read in READERS.items()} for case, file in CASES.items()}
    print("| file | " + " | ".join(READERS) + " |\n" + "|---" * (1 + len(READERS)) + "|")
    for case, row in verdicts.items():
        print(f"| {case} | " + " | ".join(row.values()) + " |")
    seconds: dict[str, list[float]] = {name: [] for name in READERS}
    with tempfile.TemporaryDirectory() as folder:
        path = million(Path(folder))
        for _ in range(options.repeats):
            for name in ("this project", "pandas", "polars", "duckdb"):
                start = time.perf_counter()
                READERS[name](path)
                seconds[name].append(time.perf_counter() - start)
    medians = {name: round(statistics.median(taken), 2) for name, taken in seconds.items() if taken}
    print(f"\nseconds for a million rows, with their cells as Python strings: {medians}")
    if options.out is not None:
        options.out.write_text(json.dumps({"verdicts": verdicts, "seconds": medians}, indent=2) + "\n")


if __name__ == "__main__":
    main()
