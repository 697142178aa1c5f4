"""The folder of an index: written whole or not at all, and checked when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILES = ("items.faiss", "embeddings.npy", "items.json", "index.json")
FIELDS = "fields.parquet"  # where items have columns to filter by

_TRIES = 5  # while another process puts a new folder in place of the one that is read


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Put a new folder in place of an earlier one; a process that is killed at any moment leaves the old or the new.

    The old one waits beside it, as `NAME.old`, while the new one, `NAME.part`, takes its name; `present_folder` finds
    it there.

    Args:
        folder: its place.
        write: writes the files into the folder that it is given.

    Raises:
        OSError: it cannot be written, as on a full disk; the old one stays.
    """
    folder = folder.resolve()
    part, old = (folder.with_name(f"{folder.name}.{name}") for name in ("part", "old"))
    if not folder.exists() and old.is_dir():
        old.replace(folder)  # a process was killed between the two renamings
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        write(part)
        for file in part.iterdir():
            _to_disk(file)
        _to_disk(part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if folder.is_dir():
        folder.replace(old)
    part.replace(folder)
    _to_disk(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def present_folder(folder: Path) -> Path:
    """Where the files of an index are: in its folder, or beside it if a process was killed while it replaced them."""
    old = folder.with_name(f"{folder.name}.old")
    return old if not (folder / "index.json").is_file() and (old / "index.json").is_file() else folder


def read_whole(folder: Path, read: Callable[[Path], Any]) -> Any:
    """What `read` makes of the folder; again if another process put a new one in its place meanwhile."""
    for left in reversed(range(_TRIES)):
        before = _stamp(folder)
        try:
            return read(present_folder(folder))
        except (OSError, ValueError):
            if left == 0 or _stamp(folder) == before:
                raise
    raise AssertionError


def checked_card(folder: Path) -> dict[str, Any]:
    """What index.json says, once the other files are those that it was written with.

    Raises:
        FileNotFoundError: there is no whole index.
        ValueError: its files are not those that were written.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} holds no index ({', '.join(missing)} missing): test the run to make one")
    changed: list[str] = []
    card: dict[str, Any] = {}
    try:
        card = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        card["model_sha256"] + "", len(card["sha256"])
        for name, hash_ in card["sha256"].items():
            if not (folder / name).is_file() or sha256(folder / name) != hash_:
                changed.append(name)
    except (ValueError, KeyError, TypeError, AttributeError):
        changed = ["index.json"]
    if changed:
        raise ValueError(
            f"the index in {folder} is damaged: {' and '.join(changed)} is not what was written with it; test the "
            "run again to make it anew"
        )
    return card


def sha256(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _to_disk(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
