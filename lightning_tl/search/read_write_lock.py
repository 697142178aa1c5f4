"""`ReadWriteLock`: many read at once, one writes alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadWriteLock:
    """Readers wait while somebody writes or waits to write, so that a writer gets its turn."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers, self._waiting, self._writing = 0, 0, False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read; not to be taken twice by one thread."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._writing and not self._readers)
            self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
