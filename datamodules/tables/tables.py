"""Reading tables that people bring: CSV, TSV, JSON Lines and Parquet, with messages that name the row."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.tables.table_formats import WRITTEN, format_of, read_bytes, table_name

_EXACT = 2.0**53  # from here on not every whole number is a float


def read_table(path: Path) -> pd.DataFrame:
    """Read a table; empty cells are missing values.

    Rows are counted as people see them: row 1 is the first below the header (JSON Lines: the first line).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of file, bytes that are not UTF-8, a row with another number of cells than the header,
            a line that is no JSON object, or no rows at all.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path}{_near_file(path)}")
    suffix = format_of(path)
    if suffix is None:
        raise ValueError(f"a table must be {WRITTEN}, got {path}")
    if suffix == ".parquet":
        try:
            table = _with_whole_numbers(pd.read_parquet(path), lambda name: _parquet_column(path, name))
            table = table.reset_index(drop=table.index.name is None)  # rows are known by their numbers
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    elif suffix == ".jsonl":
        table = _read_json_lines(path)
    else:
        table = _read_separated(path, "\t" if suffix == ".tsv" else ",")
    if len(table) == 0:
        raise ValueError(f"{path} has no rows")
    return table


def check_columns(table: pd.DataFrame, wanted: Mapping[str, str], path: Path | str) -> None:
    """Check that the columns are there and have no missing values.

    Args:
        table: as read from `path`.
        wanted: name of a column by the argument that asks for it.
        path: for messages.

    Raises:
        ValueError: naming the nearest columns, or the rows without a value.
    """
    for argument, name in wanted.items():
        check_column(table, argument, name, path)
        empty = np.flatnonzero(table[name].isna())
        if len(empty):
            raise ValueError(f"{len(empty)} rows of {path} have no {name}: {row_list(table, empty)}")


def check_column(table: pd.DataFrame, argument: str, name: str, path: Path | str) -> None:
    """Check that a column is there.

    Raises:
        ValueError: naming the nearest ones.
    """
    if name in table:
        return
    near = get_close_matches(name.lower(), [str(column).lower() for column in table], n=3, cutoff=0.4)
    nearest = [str(column) for column in table if str(column).lower() in near]
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ";"
    raise ValueError(
        f"{path} has no column '{name}'{hint} It has {', '.join(map(str, table))}. Set {argument} to the right one"
    )


def rows_listed(places: Any, most: int = 5) -> str:
    """Rows by their numbers, the first below the header being 1: `rows 3, 17 and 4 more`."""
    numbers = [int(place) + 1 for place in places]
    more = f" and {len(numbers) - most:,} more" if len(numbers) > most else ""
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:most]))}{more}"


def row_list(table: pd.DataFrame, places: Any) -> str:
    """Rows by their numbers, in the file in which each lies where a table was joined from several.

    Args:
        table: as read, perhaps without some rows.
        places: of rows in `table`.
    """
    numbers = [int(number) for number in table.index[places]]
    files: list[tuple[int, str]] = table.attrs.get("files", [])
    if not files:
        return rows_listed(numbers)
    within: dict[str, list[int]] = {}
    for number in numbers:
        start, name = max(entry for entry in files if entry[0] <= number)
        within.setdefault(name, []).append(number - start)
    return ", ".join(f"{rows_listed(rows)} of {name}" for name, rows in within.items())


def row_names(table: pd.DataFrame) -> list[str]:
    """A name for each row that stays when others are left out: `row-3`, or `train/row-3` of several files."""
    files: list[tuple[int, str]] = table.attrs.get("files", [])
    if not files:
        return [f"row-{number + 1}" for number in table.index]
    starts = np.array([start for start, _ in files])
    owner = np.searchsorted(starts, table.index, side="right") - 1
    parts = [Path(name) for _, name in files]
    names = [table_name(part) for part in parts]
    return [f"{names[k]}/row-{number - files[k][0] + 1}" for k, number in zip(owner, table.index, strict=True)]


def joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of several files as one that knows which row is of which.

    Args:
        tables: by the file's name.
    """
    table = pd.concat(tables.values(), ignore_index=True)
    lengths = [len(part) for part in tables.values()]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).tolist()
    table.attrs["files"] = list(zip(starts, tables, strict=True))
    return table


def _read_separated(path: Path, separator: str) -> pd.DataFrame:
    text = _text(path, header=1)
    if separator == ",":
        separator = _other_separator(text)
    limit = csv.field_size_limit(2**30)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    try:
        rows.extend(row for row in reader if row)  # no blank lines
    except csv.Error as error:
        reason = str(error).replace("\t", "a tab").replace("\n", " ")
        place = f"row {len(rows)}" if rows else "the header"
        raise ValueError(
            f"{place} of {path} is not closed as it should be ({reason} in line {reader.line_num}): a cell that begins "
            "with a quote must end with one, and quotes inside it are doubled"
        ) from None
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise ValueError(f"{path} is empty")
    header, body = rows[0], rows[1:]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has several columns of the same name: {', '.join(twice)}")
    ragged = [place for place, row in enumerate(body) if len(row) != len(header)]
    if ragged:
        raise ValueError(
            f"{len(ragged)} rows of {path} have another number of cells than the {len(header)} of the header: "
            f"{rows_listed(ragged)} (row {ragged[0] + 1} has {len(body[ragged[0]])}); put quotes around "
            f"texts that hold {separator!r} or line breaks"
        )
    table = pd.DataFrame(body, columns=header, dtype=object)
    return table.where(table != "", None)


def _other_separator(text: str) -> str:
    """`;` where the header holds no comma, but that, as spreadsheets of many countries write it; else a comma."""
    header = text.lstrip().split("\n", 1)[0]
    return ";" if ";" in header and "," not in header else ","


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(_text(path, header=0).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"row {number} of {path} is no JSON: {error.msg} at character {error.pos}") from None
        except RecursionError:
            raise ValueError(f"row {number} of {path} nests lists or objects too deeply to be read") from None
        if any("\ud800" <= character <= "\udfff" for character in json.dumps(row, ensure_ascii=False)):
            raise ValueError(f"row {number} of {path} holds half a character (a lone surrogate such as \\ud83d)")
        if not isinstance(row, dict):
            raise ValueError(f'row {number} of {path} must be a JSON object such as {{"text": …}}, got {line[:40]}')
        rows.append(row)
    return _with_whole_numbers(pd.DataFrame(rows), lambda name: [row.get(name) for row in rows])


def _with_whole_numbers(table: pd.DataFrame, column: Callable[[str], list[Any]]) -> pd.DataFrame:
    """Integers beside missing values as they are written, where the floats that pandas makes of them would round."""
    for name in table:
        floats = table[name]
        if floats.dtype.kind != "f" or not (floats.abs() >= _EXACT).any():
            continue
        given = column(str(name))
        if any(isinstance(value, int) for value in given):
            table[name] = pd.Series(given, index=table.index, dtype=object)
    return table


def _parquet_column(path: Path, name: str) -> list[Any]:
    import pyarrow.parquet as pq

    values: list[Any] = pq.read_table(path, columns=[name]).column(0).to_pylist()
    return values


def _text(path: Path, header: int) -> str:
    data = read_bytes(path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path} is UTF-16, not UTF-8. Convert it, for example with iconv -f utf-16 -t utf-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1 - header
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} in row {line}. Convert it, for example with "
            f"iconv -f latin1 -t utf-8"
        ) from None


def _near_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f": there is no folder {folder}"
    names = [file.name for file in folder.iterdir() if format_of(file) is not None and file.exists()]
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean {folder / near[0]}?" if near else ""
