"""Options that would change nothing are refused: columns of a table that is not there, files that are not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def check_table_is_there(name: str, table: object | None, **columns: str | Sequence[str] | None) -> None:
    """Check that columns are asked of a table that there is.

    Args:
        name: what the table is called, which is also the option that names its file.
        table: None where there is none.
        **columns: option -> the column, or columns, that it names; None or empty for none.

    Raises:
        ValueError: naming the first option in vain.
    """
    for option, value in columns.items():
        if value and table is None:
            wanted = value if isinstance(value, str) else ", ".join(value)
            raise ValueError(
                f"{option}={wanted} asks for columns of the table of {name}, but there is none: "
                f"set {name} (--data.{name}=FILE), or leave {option} out"
            )


def check_has_effect(option: str, value: object, usual: object, needed: str, there: object | None) -> None:
    """Check that an option is not set in vain.

    Args:
        option: what was set.
        value: to what.
        usual: its default.
        needed: without which it changes nothing.
        there: what `needed` is set to; None where it is not set.

    Raises:
        ValueError: it changes nothing.
    """
    if value != usual and there is None:
        raise ValueError(
            f"{option}={value} has no effect without {needed}: set {needed} (--data.{needed}=…), or leave {option} out"
        )


def check_no_files(options: Mapping[str, Any], source: str, remedy: str) -> None:
    """Check that a data module that has its tables from elsewhere is given no files.

    Args:
        options: of `InteractionDataModule`.
        source: where the tables come from.
        remedy: what to set instead.

    Raises:
        ValueError: naming the first file in vain.
    """
    for name in ("events", "items", "users"):
        if options.get(name) is not None:
            raise ValueError(f"{name}={options[name]} names a file, but {source}: leave it out, and {remedy}")
