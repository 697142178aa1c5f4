"""Which files an event log consists of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.tables.table_formats import WRITTEN, format_of


def event_paths(path: Path | Sequence[Path]) -> list[Path]:
    """The files of a log, in the order in which they are read: as listed, and in folders by name.

    Hidden files and those whose names begin with an underscore, as other programs leave beside their parts, are passed
    over.

    Args:
        path: a file, a folder of files, or several of both.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: no files, files of another kind or of several kinds, one file twice, or folders within the folder.
    """
    given = [path] if isinstance(path, str | Path) else list(path)
    files = [file for entry in given for file in _files(Path(entry))]
    if not files:
        raise ValueError("there are no event files: the list is empty")
    for file in files:
        if format_of(file) is None:
            raise ValueError(f"event files must be {WRITTEN}, got {file}; convert or unpack it")
        if file.stat().st_size == 0:
            raise ValueError(f"{file} is empty")
    suffixes = {format_of(file): file for file in files}
    if len(suffixes) > 1:
        raise ValueError(
            f"event files must be of one kind, got {' and '.join(map(str, suffixes.values()))}; convert one of them"
        )
    real = [file.resolve() for file in files]
    twice = next((file for file in real if real.count(file) > 1), None) if len(set(real)) < len(real) else None
    if twice is not None:
        raise ValueError(f"{twice} is among the event files twice; drop one")
    return files


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no event file or folder {path}{_seen_from(path)}; set events (--data.events=FILE)"
        )
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")))
    folders = [entry for entry in entries if entry.is_dir()]
    if folders:
        raise ValueError(
            f"{path} holds {len(folders)} folders, such as {folders[0].name}, beside or instead of event files; list "
            "the files or the folders that belong to the log"
        )
    found = [entry for entry in entries if format_of(entry) is not None]
    if not found:
        raise ValueError(f"{path} holds no event files ({WRITTEN})")
    return found


def _seen_from(path: Path) -> str:
    return "" if path.is_absolute() else f" in {Path.cwd()}"
