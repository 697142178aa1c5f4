"""Times of events as whole seconds since 1970 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datamodules.events.reading.event_values import EventValues, first_failing, is_text

TimeUnit = Literal["s", "ms", "us", "ns"]
PER_SECOND: dict[str, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_LATEST = 10**11  # seconds: the year 5138; also milliseconds of the year 1973
_ZONED = r":.*(Z|[+-]\d\d(:?\d\d)?)$"
_MUST = "seconds since 1970 in UTC, a timestamp, or an ISO 8601 time such as 2024-05-01 12:30:00"


def utc_seconds(column: EventValues, unit: TimeUnit | None = None) -> NDArray[np.int64]:
    """Times as seconds since 1970 in UTC, fractions of a second cut off: [events].

    Timestamps and ISO 8601 texts say what they mean; without a time zone they are taken as UTC, and a day is its
    midnight. Numbers, also as texts, count from 1970 in `unit`.

    Args:
        column: numbers, timestamps, days or texts.
        unit: of numbers; None takes them for seconds.

    Raises:
        ValueError: other columns, times before 1970, numbers that are too large for seconds.
    """
    kind = column.values.type
    if pa.types.is_timestamp(kind):
        seconds = _from_timestamps(column.values)
    elif pa.types.is_date(kind):
        seconds = _from_timestamps(column.values.cast(pa.timestamp("ms")))
    elif is_text(kind):
        seconds = _from_texts(column, unit)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        seconds = _from_numbers(column, unit)
    else:
        raise column.mistyped(_MUST)
    column.refuse(seconds > _LATEST, "before the year 5138; drop or correct the row")
    column.refuse(seconds < 0, f"at or after 1970-01-01: {_MUST}")
    return seconds


def as_date(seconds: int) -> str:
    """`2024-05-01 12:30:00 UTC`."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


def _from_timestamps(values: pa.Array) -> NDArray[np.int64]:
    found: NDArray[np.int64] = values.cast(pa.int64()).to_numpy()
    return found // PER_SECOND[values.type.unit]


def _from_numbers(column: EventValues, unit: TimeUnit | None) -> NDArray[np.int64]:
    kind = column.values.type
    if pa.types.is_floating(kind) and kind.bit_width < 64:
        raise column.mistyped("whole seconds; 32-bit floats round them to minutes. Write int64")
    if pa.types.is_integer(kind):
        found: NDArray[np.int64] = column.cast(pa.int64(), f"below 2^63: {_MUST}").to_numpy()
    else:
        floats = column.cast(pa.float64(), _MUST).to_numpy(zero_copy_only=False)
        column.refuse(~np.isfinite(floats), f"a number: {_MUST}")
        column.refuse(np.abs(floats) >= 2.0**63, f"below 2^63: {_MUST}")
        found = np.floor(floats).astype(np.int64)
    if unit is None and len(found) and _is_written_date(found[0]):
        column.refuse(np.ones(len(found), bool), f"{_MUST}, and not the digits of a date (YYYYMMDDhhmm or with ss)")
    scaled = found // PER_SECOND[unit or "s"]
    if len(scaled) and int(scaled.max()) > _LATEST:
        largest = int(found.max())
        likely = "ms" if largest < 10**14 else "us" if largest < 10**17 else "ns"
        column.refuse(
            scaled > _LATEST,
            f"in {unit or 's'} since 1970 and before the year 5138, but looks like {likely}; set time_unit to {likely}",
        )
    return scaled


def _is_written_date(number: np.int64) -> bool:
    """Whether a number reads as the digits of year, month, day, hour, minute and, maybe, second.

    Both are too large for seconds; as milliseconds the shorter would be of 1976, the longer of 2572 or later.
    """
    written = {12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(str(number)))
    try:
        return written is not None and 1900 <= datetime.strptime(str(number), written).year <= 2200
    except ValueError:
        return False


def _from_texts(column: EventValues, unit: TimeUnit | None) -> NDArray[np.int64]:
    """As the first text is meant, all are: a number, or an ISO 8601 time."""
    try:
        column.values[:1].cast(pa.float64())
    except pa.ArrowInvalid:
        return _parsed(column)
    try:
        numbers = column.values.cast(pa.int64())
    except pa.ArrowInvalid:
        numbers = column.cast(pa.float64(), _MUST)
    return _from_numbers(EventValues(numbers, column.name, column.path, column.first_row), unit)


def _parsed(column: EventValues) -> NDArray[np.int64]:
    try:
        return _from_iso(column.values)
    except pa.ArrowInvalid:
        bad = np.zeros(len(column), bool)
        bad[first_failing(column.values, _from_iso)] = True
        column.refuse(bad, _MUST)
        raise


def _from_iso(values: pa.Array) -> NDArray[np.int64]:
    """Seconds of ISO 8601 texts, with a time zone or without: [events]; ` UTC`, ` GMT` and ` +0200` are zones too."""
    values = pc.utf8_trim_whitespace(values)
    values = pc.replace_substring_regex(values, pattern=r"\s*(UTC|GMT)$", replacement="Z")
    values = pc.replace_substring_regex(values, pattern=r"\s+([+-]\d\d(:?\d\d)?)$", replacement=r"\1")
    zoned = pc.match_substring_regex(values, _ZONED)
    found = np.empty(len(values), np.int64)
    for flags, kind in ((zoned, pa.timestamp("ns", "UTC")), (pc.invert(zoned), pa.timestamp("ns"))):
        found[flags.to_numpy(zero_copy_only=False)] = _from_timestamps(values.filter(flags).cast(kind))
    return found
