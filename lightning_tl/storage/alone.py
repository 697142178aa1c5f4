"""Work that one process does while others wait for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is here, and keep others waiting; a process that is killed lets go.

    Args:
        path: a file of no content that all of them name; it stays.
    """
    with open(path, "a", encoding="utf-8") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
