"""Event files read piece by piece, so that logs may be larger than memory."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from datamodules.events.reading.event_values import EventValues, plain
from datamodules.tables.table_formats import PACKED, format_of, open_table
from datamodules.tables.tables import check_column

_ROWS = 1_000_000  # of a piece of Parquet
_BYTES = 32 * 2**20  # of a piece of CSV
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]*)$"
_SAMPLE = 10_000  # rows of a CSV file that say whether its ids are numbers


@dataclass(frozen=True)
class EventColumns:
    """Which columns of event files hold what.

    Args:
        user: who; whole numbers or texts.
        item: what; whole numbers or texts.
        time: when; see `utc_seconds`.
        completion: share of the item that was consumed, in 0…1; None where every event counts as taken.
        weight: how much the event counts in training, above 0; None where all count 1.

    Raises:
        ValueError: user, item and time are not three columns.
    """

    user: str = "user"
    item: str = "item"
    time: str = "time"
    completion: str | None = None
    weight: str | None = None

    def __post_init__(self) -> None:
        if len({self.user, self.item, self.time}) < 3:
            raise ValueError(
                f"user, item and time must be three columns, got '{self.user}', '{self.item}' and '{self.time}'"
            )

    def wanted(self) -> dict[str, str]:
        """Names of the columns, by what they hold."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: column for name, column in found.items() if column is not None}


def event_batches(files: list[Path], columns: EventColumns) -> Iterator[dict[str, EventValues]]:
    """The wanted columns of all files, by what they hold, some rows at a time. Files without rows are passed over.

    Raises:
        ValueError: a file that cannot be read, lacks a column, or has ids of another kind than those before it.
    """
    wanted = columns.wanted()
    kinds: dict[str, tuple[str, str, Path]] = {}
    for path in files:
        row = 1
        for batch in _READERS[format_of(path) or ""](path, wanted):
            if not len(batch):
                continue
            found = {what: EventValues(plain(batch[name]), name, path, row) for what, name in wanted.items()}
            if row == 1:
                for what in ("user", "item"):
                    _check_kind(found[what], kinds)
            yield found
            row += len(batch)


def _parquet(path: Path, wanted: dict[str, str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            _check_names(path, file.schema_arrow.names, wanted)
            yield from file.iter_batches(_ROWS, columns=sorted(set(wanted.values())))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {first_line(error)}") from None


def _separated(path: Path, wanted: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """All as texts: what a column holds is decided by its meaning, not by its first rows."""
    separator = "\t" if format_of(path) == ".tsv" else ","
    header = _header(path, separator)
    _check_names(path, header, wanted)
    names = sorted(set(wanted.values()))
    # the last column is read too: a quote that is left open there swallows all rows below it without any error
    last = {} if header[-1] in names or header.count(header[-1]) > 1 else {header[-1]: pa.binary()}
    end = b""  # its last cell
    try:
        reader = pa.csv.open_csv(
            _unpacked(path),
            # one thread, because messages then say which row they mean
            pa.csv.ReadOptions(use_threads=False, block_size=_BYTES),
            pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            pa.csv.ConvertOptions(
                include_columns=[*names, *last],
                column_types=dict.fromkeys(names, pa.string()) | last,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        for batch in reader:
            for name in last if len(batch) else ():
                end = batch[name][-1].as_py() or b""
            yield batch
    except (pa.ArrowInvalid, OSError) as error:
        if path.suffix.lower() != PACKED:
            _check_utf8(path)
        kind = (format_of(path) or "")[1:].upper()
        raise ValueError(
            f"{path} cannot be read as {kind}: {first_line(error)} (the header is row 1); "
            "put quotes around cells that hold separators, and close every quote"
        ) from None
    if b"\n" in end and not _ends_with_quote(path):
        raise ValueError(f"a quote is left open in the last row of {path}, in the cell {end[:40]!r}…; close it")


def _json_lines(path: Path, wanted: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """A JSON object in each line, its values as they are."""
    names = sorted(set(wanted.values()))
    try:
        with open_table(path) as file:
            first = json.loads(next((line for line in file if line.strip()), b"{}"))
        if not isinstance(first, dict):
            raise ValueError(f'row 1 of {path} must be a JSON object such as {{"user": …}}')
        _check_names(path, list(first), wanted)
        reader = pa.json.open_json(_unpacked(path), pa.json.ReadOptions(use_threads=False, block_size=_BYTES))
        for batch in reader:
            yield batch.select(names)
    except (pa.ArrowInvalid, json.JSONDecodeError, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as JSON Lines: {first_line(error)}") from None
    except KeyError as error:
        raise ValueError(f"{path} has rows without {first_line(error)}") from None


def _unpacked(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="gzip" if path.suffix.lower() == PACKED else None)


_READERS = {".parquet": _parquet, ".csv": _separated, ".tsv": _separated, ".jsonl": _json_lines}


def _header(path: Path, separator: str) -> list[str]:
    try:
        with open_table(path) as file:
            begin = file.read(2**20)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked: {first_line(error)}") from None
    if b"\0" in begin and not begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path} is no text, as it holds zero bytes: is it a file of another kind?")
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path} is UTF-16, not UTF-8. Convert it, for example with iconv -f utf-16 -t utf-8")
    try:
        rows = csv.reader(io.StringIO(begin.decode("utf-8-sig", errors="replace"), newline=""), delimiter=separator)
        names = next((row for row in rows if row), [])
    except csv.Error as error:
        raise ValueError(f"the header of {path} cannot be read: {first_line(error)}") from None
    if not names:
        raise ValueError(f"{path} is empty")
    if any("\ufffd" in name for name in names):
        _check_utf8(path)
    return names


def _ends_with_quote(path: Path) -> bool:
    with open_table(path) as file:
        tail = b""
        if path.suffix.lower() == PACKED:  # has no end that could be looked up
            while piece := file.read(2**20):
                tail = (tail + piece)[-4096:]
        else:
            file.seek(max(0, path.stat().st_size - 4096))
            tail = file.read()
        return tail.rstrip().endswith(b'"')


def _check_names(path: Path, names: list[str], wanted: dict[str, str]) -> None:
    for what, name in wanted.items():
        check_column(pd.DataFrame(columns=names), what, name, path)
        if names.count(name) > 1:
            raise ValueError(f"{path} has {names.count(name)} columns '{name}'; rename all but one")


def _check_kind(column: EventValues, kinds: dict[str, tuple[str, str, Path]]) -> None:
    """Refuse ids that are numbers in one file and texts in another: they would be other users and items."""
    kind = column.values.type
    name, general = str(kind), "whole numbers" if pa.types.is_integer(kind) else "texts"
    if format_of(column.path) in (".csv", ".tsv"):
        whole = pc.match_substring_regex(column.values[:_SAMPLE], _WHOLE_NUMBER)
        if pc.any(whole).as_py() and not pc.all(whole).as_py():
            return  # ids such as ISBNs, with letters or without
        name = general = "whole numbers" if pc.all(whole).as_py() else "texts"
    before = kinds.setdefault(column.name, (general, name, column.path))
    if before[0] != general:
        raise ValueError(
            f"ids in {column.name} change their type between files: {before[1]} in {before[2]}, {name} in "
            f"{column.path}; write one kind of id in all files"
        )


def _check_utf8(path: Path) -> None:
    with open_table(path) as file:
        for number, line in enumerate(file):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"row {number}" if number else "the header"
                raise ValueError(
                    f"{path} is not UTF-8: byte 0x{line[error.start]:02x} in {where}. Convert it, for example with "
                    "iconv -f latin1 -t utf-8"
                ) from None


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its name where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
