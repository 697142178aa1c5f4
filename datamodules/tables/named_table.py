"""`named_table`: the table of an option, with a message that says how to name another where it is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from datamodules.tables.tables import read_table


def named_table(name: str, paths: Mapping[str, str | Path | Sequence[str | Path] | None]) -> pd.DataFrame | None:
    """Read one of the files that a data module was given, see `read_table`.

    Args:
        name: of the option.
        paths: all files that will be read, by option. A run that moved to another machine often lacks all of them, so
            that the message names all at once.

    Returns:
        The table; None where the option is not set.

    Raises:
        FileNotFoundError: there is no such file; says which options to set.
        ValueError: see `read_table`.
    """
    path = paths[name]
    if path is None:
        return None
    if not isinstance(path, str | Path):
        raise ValueError(f"{name} must be one file, got {len(path)}")
    try:
        return read_table(Path(path))
    except FileNotFoundError as error:
        others = [option for option, files in paths.items() if option != name and not _are_there(files)]
        options = " ".join(f"--data.{option}=FILE" for option in (name, *others))
        wanted = f"{name} and {' and '.join(others)}, none of which is there" if others else name
        gap = " Else " if str(error).endswith("?") else "; "
        raise FileNotFoundError(f"{error}{gap}set {wanted} ({options})") from None


def _are_there(files: str | Path | Sequence[str | Path] | None) -> bool:
    if files is None:
        return True
    return all(Path(file).exists() for file in ([files] if isinstance(files, str | Path) else files))
