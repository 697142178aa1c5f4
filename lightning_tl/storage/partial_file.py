"""Files that are written beside their place: made anew, never through a link that somebody put there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def fresh_file(path: Path) -> BinaryIO:
    """A new file to write to and read from; what had this name is removed, a link itself and not what it leads to.

    Raises:
        FileExistsError: something of this name appeared meanwhile.
    """
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "w+b")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, that a reader never sees half of."""
    partial = path.with_name(f"{path.name}.part")
    try:
        with fresh_file(partial) as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
