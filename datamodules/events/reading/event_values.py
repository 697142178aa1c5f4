"""The values of one column of one piece of an event file, checked, with messages that name the row."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class EventValues:
    """Values of one column, and where they come from.

    Args:
        values: [events] as they lie in the file.
        name: of the column.
        path: of the file.
        first_row: row of the first value; row 1 is the first below the header.

    Raises:
        ValueError: a value is missing.
    """

    values: pa.Array
    name: str
    path: Path
    first_row: int

    def __post_init__(self) -> None:
        if self.values.null_count:
            missing = int(np.flatnonzero(self.values.is_null().to_numpy(zero_copy_only=False))[0])
            raise ValueError(f"{self.row(missing)} has no {self.name}; fill it in or drop the row")

    def __len__(self) -> int:
        return len(self.values)

    def row(self, place: int) -> str:
        """`row 17 of events.csv`."""
        return f"row {self.first_row + place:,} of {self.path}"

    def refuse(self, bad: Flags, must: str) -> None:
        """Raise for the first bad value.

        Args:
            bad: [events].
            must: what a value must be, and the remedy.
        """
        if bad.any():
            place = int(np.argmax(bad))
            value = self.values[place : place + 1]
            with suppress(pa.ArrowNotImplementedError):  # arrow writes dates of any year, Python does not
                value = value.cast(pa.string())
            value = f"'{value[0]}'" if is_text(self.values.type) else value[0]
            raise ValueError(f"{self.name} must be {must}; got {value} in {self.row(place)}")

    def cast(self, kind: pa.DataType, must: str) -> pa.Array:
        """The values as another type.

        Raises:
            ValueError: naming the first value that is none of this type.
        """
        try:
            return self.values.cast(kind)
        except pa.ArrowInvalid:
            bad = np.zeros(len(self), bool)
            bad[first_failing(self.values, lambda part: part.cast(kind))] = True
            self.refuse(bad, must)
            raise
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
            raise self.mistyped(must) from None

    def mistyped(self, must: str) -> ValueError:
        """The error for a column whose type cannot be right."""
        return ValueError(f"{self.name} must be {must}; {self.path} has it as {self.values.type}")

    def texts(self) -> pa.Array:
        """Ids as texts: whole numbers and texts, neither empty nor with a line break.

        Raises:
            ValueError: for columns of another type and for such ids.
        """
        values = self.values
        if pa.types.is_integer(values.type):
            return values
        if not is_text(values.type):
            raise self.mistyped("whole numbers or texts, for ids; convert it")
        self.refuse(_flags(pc.equal(pc.utf8_length(values), 0)), "an id; fill it in or drop the row")
        self.refuse(
            _flags(pc.match_substring(values, "\n")), "an id without line break (in CSV: is a quote left open?)"
        )
        self.refuse(
            _flags(pc.match_substring_regex(values, r"^-?\d+\.0+$")),
            "a whole number or a text, for ids, not a whole number that was written as a fraction; write it without",
        )
        return values.cast(pa.large_string())

    def reaches(self, least: float) -> Flags:
        """Whether shares, which must be in 0…1, are `least` or more.

        Raises:
            ValueError: for others.
        """
        must = "in 0…1; divide what was consumed by the whole"
        found = self._numbers(must)
        self.refuse(~((found >= 0) & (found <= 1)), must)
        # a share of 0.7 in single precision is below 0.7 in double precision
        return found >= (float(np.float32(least)) if pa.types.is_float32(self.values.type) else least)

    def weights(self) -> NDArray[np.float32]:
        """Numbers above 0.

        Raises:
            ValueError: for others, and for those that single precision takes for 0 or infinite.
        """
        must = "above 0 and finite in single precision, at most 3.4e38; drop events that shall not count"
        with np.errstate(over="ignore"):
            found = self._numbers(must).astype(np.float32)
        self.refuse(~((found > 0) & np.isfinite(found)), must)
        return found

    def _numbers(self, must: str) -> NDArray[np.float64]:
        if pa.types.is_temporal(self.values.type):
            raise self.mistyped(f"a number {must}")
        found: NDArray[np.float64] = self.cast(pa.float64(), f"a number {must}").to_numpy(zero_copy_only=False)
        return found


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def plain(values: pa.Array) -> pa.Array:
    """Without the ways of storage that only some operations know: dictionaries and views."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.large_string()) if pa.types.is_string_view(values.type) else values


def first_failing(values: pa.Array, convert: Callable[[pa.Array], object]) -> int:
    """The place of the first value that cannot be converted, found by halves, as no message says where it is."""
    start, stop = 0, len(values)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            convert(values[start:middle])
            start = middle
        except pa.ArrowInvalid:
            stop = middle
    return start


def _flags(values: pa.Array) -> Flags:
    found: Flags = values.to_numpy(zero_copy_only=False)
    return found
