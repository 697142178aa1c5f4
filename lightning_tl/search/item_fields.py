"""`ItemFields`: columns of the table of items, by which a search is filtered."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.search.conditions import Range, checked_condition

Mask = NDArray[np.bool_]

_KEPT = 64  # masks of the last filters, a byte for each item and filter


class ItemFields:
    """Columns of texts, numbers, truth values, dates and lists of texts, a row for each item.

    Args:
        table: of Arrow.

    Raises:
        ValueError: a column of another type.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        for name in table.column_names:
            _kind(name, table.schema.field(name).type)
        self._masks: dict[str, Mask] = {}
        self._columns: dict[str, NDArray[np.float64]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def names(self) -> list[str]:
        """Those of the columns."""
        return list(self.table.column_names)

    @classmethod
    def read(cls, path: Path, item: str, ids: Sequence[str], columns: Sequence[str] | None = None) -> ItemFields:
        """Columns of a Parquet or CSV file, in the order of the ids; rows that it lacks are empty.

        Args:
            path: of the file.
            item: its column of ids.
            ids: [items].
            columns: which; None for all of a type that can be filtered by.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a missing column, or an id that occurs twice.
        """
        table = read_arrow(path)
        for name in (item, *(columns or ())):
            if name not in table.column_names:
                raise ValueError(f"{path} has no column '{name}'; it has: {', '.join(table.column_names)}")
        names = [str(value) for value in table.column(item).to_pylist()]
        rows = {name: row for row, name in enumerate(names)}
        if len(rows) < len(names):
            twice = next(name for row, name in enumerate(names) if rows[name] != row)
            raise ValueError(f"{path} has the item '{twice}' more than once; keep one row each")
        if columns is None:
            columns = [name for name in table.column_names if name != item and _can_filter(table.schema.field(name))]
        places = pa.array([rows.get(name) for name in ids], pa.int64())
        return cls(table.select(list(columns)).take(places))

    def extended(self, rows: Mapping[str, Sequence[Any]], count: int) -> ItemFields:
        """With further rows.

        Args:
            rows: by column [count] values; columns that are not given are empty.
            count: how many.

        Raises:
            ValueError: an unknown column, or a value that does not fit its column.
        """
        self._check_names(rows)
        columns = {}
        for field in self.table.schema:
            values = rows.get(field.name, [None] * count)
            try:
                columns[field.name] = pa.array(values, type=field.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"new values of '{field.name}' do not fit its type {field.type}: {error}") from None
        return ItemFields(pa.concat_tables([self.table, pa.table(columns, schema=self.table.schema)]))

    def taken(self, rows: NDArray[np.int64]) -> ItemFields:
        """These rows alone."""
        return ItemFields(self.table.take(pa.array(rows)))

    def values(self, row: int) -> dict[str, Any]:
        """One row."""
        found: dict[str, Any] = self.table.slice(row, 1).to_pylist()[0] if self.table.num_columns else {}
        return found

    def mask(self, where: Mapping[str, Any]) -> Mask:
        """[items] whether all conditions hold, see `ItemFilter`; those of late are kept, and must not be written to.

        Raises:
            ValueError: an unknown column, or a value that does not fit it.
        """
        key = json.dumps(where, sort_keys=True, default=str)
        with self._lock:
            found = self._masks.pop(key, None)
        if found is None:
            self._check_names(where)
            found = np.ones(len(self), bool)
            for name, wanted in where.items():
                try:
                    found &= self._holds(name, wanted)
                except (pa.ArrowException, OverflowError, UnicodeError) as error:
                    raise ValueError(f"'{name}' cannot be compared with {wanted!r}: {error}") from None
        with self._lock:
            self._masks[key] = found
            while len(self._masks) > _KEPT:
                self._masks.pop(next(iter(self._masks)))
        return found

    def column(self, name: str) -> NDArray[np.float64]:
        """[items] a column of numbers or truth values; NaN where a cell is empty. It is kept, and not to be written to.

        Raises:
            ValueError: it is unknown, or of another type.
        """
        with self._lock:
            if (kept := self._columns.get(name)) is not None:
                return kept
        self._check_names([name], "boost")
        kind = _kind(name, self.table.schema.field(name).type)
        if kind not in ("numbers", "truth values"):
            raise ValueError(f"'{name}' is a column of {kind}; numbers are needed")
        values = pc.cast(self.table.column(name), pa.float64())
        found = np.array(values.to_numpy(zero_copy_only=False), np.float64)
        found.setflags(write=False)
        with self._lock:
            self._columns[name] = found
        return found

    def _check_names(self, names: Mapping[str, Any] | Sequence[str], purpose: str = "filter") -> None:
        for name in names:
            if name not in self.table.column_names:
                there = f"it has: {', '.join(self.names)}" if self.names else "it has none"
                raise ValueError(f"the table of items has no column '{name}' to {purpose} by; {there}")

    def _holds(self, name: str, wanted: Any) -> Mask:
        column, type_ = self.table.column(name), self.table.schema.field(name).type
        checked = checked_condition(name, wanted, _kind(name, type_))
        if isinstance(checked, Range):
            parts = []
            if checked.low is not None:
                parts.append(pc.greater_equal(column, _scalar(checked.low, type_)))
            if checked.high is not None:
                parts.append(pc.less_equal(column, _scalar(checked.high, type_)))
            found = parts[0] if len(parts) == 1 else pc.and_(*parts)
        elif pa.types.is_list(type_) or pa.types.is_large_list(type_):
            return self._any_of(column, type_, checked)
        else:
            found = _is_in(column, type_, checked)
        return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), bool)

    def _any_of(self, column: Any, type_: Any, wanted: list[Any]) -> Mask:
        flat = pc.list_flatten(column)
        hits = pc.list_parent_indices(column).filter(pc.is_in(flat, value_set=pa.array(wanted, type_.value_type)))
        found = np.zeros(len(self), bool)
        found[hits.to_numpy()] = True
        return found


def _kind(name: str, type_: Any) -> str:
    types = pa.types
    if types.is_dictionary(type_):
        return _kind(name, type_.value_type)
    if types.is_string(type_) or types.is_large_string(type_):
        return "texts"
    if types.is_boolean(type_):
        return "truth values"
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "numbers"
    if types.is_date(type_) or types.is_timestamp(type_):
        return "dates"
    if (types.is_list(type_) or types.is_large_list(type_)) and _kind(name, type_.value_type) == "texts":
        return "lists of texts"
    raise ValueError(f"the column '{name}' of type {type_} is nothing to filter by; leave it out")


def kind_of(fields: ItemFields, name: str) -> str:
    """What a column holds, see `checked_condition`."""
    return _kind(name, fields.table.schema.field(name).type)


def _can_filter(field: Any) -> bool:
    try:
        _kind(field.name, field.type)
    except ValueError:
        return False
    return True


def _is_in(column: Any, type_: Any, wanted: list[Any]) -> Any:
    types = pa.types
    if types.is_dictionary(type_):
        return _is_in(pc.cast(column, type_.value_type), type_.value_type, wanted)
    if types.is_date(type_) or types.is_timestamp(type_):
        return pc.is_in(column, value_set=pa.array([_scalar(value, type_).as_py() for value in wanted], type_))
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        values = pa.array([float(value) + 0.0 for value in wanted], pa.float64())  # is_in tells -0.0 from 0.0
        return pc.is_in(pc.add(pc.cast(column, pa.float64(), safe=False), 0.0), value_set=values)
    return pc.is_in(column, value_set=pa.array(wanted, type_))


def _scalar(value: Any, type_: Any) -> Any:
    if pa.types.is_date(type_):
        return pa.scalar(value.date(), type_)
    if pa.types.is_timestamp(type_):
        return pa.scalar(value if type_.tz is not None else value.astimezone(datetime.UTC).replace(tzinfo=None), type_)
    return pa.scalar(value)


def read_arrow(path: Path) -> pa.Table:
    """A Parquet or CSV file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be read as what its name says.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        if path.suffix == ".csv":
            return pyarrow.csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    raise ValueError(f"{path} is neither .parquet nor .csv")


def fields_of_frame(frame: Any, item: str, ids: Sequence[str]) -> ItemFields | None:
    """The columns of a pandas table that can be filtered by, in the order of the ids; NaN is empty. None without any.

    Args:
        frame: of pandas.
        item: column of ids, each once.
        ids: [items].
    """
    columns = {}
    for name in frame.columns:
        if name == item:
            continue
        try:
            column = pa.Array.from_pandas(frame[name])
        except (pa.ArrowException, TypeError, ValueError):
            continue  # of mixed values, such as images and paths
        if _can_filter(pa.field(str(name), column.type)):
            columns[str(name)] = column
    numbers = frame[item]
    if numbers.dtype.kind == "f" and (numbers % 1 == 0).all():
        numbers = numbers.astype("int64")
    rows = {str(name): row for row, name in enumerate(numbers)}
    places = pa.array([rows.get(name) for name in ids], pa.int64())
    return ItemFields(pa.table(columns).take(places)) if columns else None
