"""Which files are tables: one list for texts, images, items, users and events alike."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
PACKED = ".gz"
WRITTEN = ".csv, .tsv, .jsonl (each of them also as .gz) or .parquet"  # for messages


def format_of(path: Path) -> str | None:
    """The format that a file's name tells, one of `FORMATS`; None for files that are no tables."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == PACKED:
        return suffixes[0] if len(suffixes) == 2 and suffixes[0] in FORMATS[:-1] else None
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def table_name(path: Path) -> str:
    """The file's name without the endings that tell its format."""
    packed = path.suffix.lower() == PACKED
    return Path(path.stem).stem if packed else path.stem


def open_table(path: Path) -> BinaryIO:
    """The bytes of a table, unpacked."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == PACKED else path.open("rb")


def read_bytes(path: Path) -> bytes:
    """All bytes of a table, unpacked.

    Raises:
        ValueError: a packed file is damaged.
    """
    try:
        with open_table(path) as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}") from None
