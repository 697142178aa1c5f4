"""Whether two readings of a data set would give the same samples."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.labelled.records import Records
from datamodules.loading.orders import Indices

_NOT_READ = ("labels", "splits", "class_names", "blocks")  # what is known of samples, apart from what they are


def fingerprint(records: Records, indices: Indices, *settings: object) -> str:
    """SHA-256 of the names and contents of samples, in their order: 64 hexadecimal digits.

    Files count by path, size and time of change; they are not read.

    Args:
        records: all samples.
        indices: the samples that count, in their order.
        settings: what else decides how a sample is read; counts by its `repr`.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for field in dataclasses.fields(records):
        column = getattr(records, field.name)
        if field.name in _NOT_READ or column is None:
            continue
        digest.update(f"{field.name} {len(indices)}\0".encode())
        for index in indices.tolist():
            digest.update(_bytes(column[index]) + b"\0")
    return digest.hexdigest()


def _bytes(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype} ".encode() + np.ascontiguousarray(value).tobytes()
    if isinstance(value, Path) and value.is_dir():  # a sample of several files
        return b"\0".join(_bytes(path) for path in sorted(value.rglob("*")) if path.is_file())
    if isinstance(value, Path):
        state = value.stat()
        return f"{value} {state.st_size} {state.st_mtime_ns}".encode()
    text = str(value)
    return f"{len(text)} {text}".encode("utf-8", "surrogatepass")
