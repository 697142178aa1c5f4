"""`Statements`: a cursor whose connection is ended where nothing comes."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

_LONGER = 1.5  # times a server's own limit, so that it is the one to tell
_MANY = 10  # times as long for a batch


class Watch:
    """Calls a function where time passes without a word; used as a context.

    Args:
        limit_s: seconds; None for none.
        end: what is called then, by another thread.
    """

    def __init__(self, limit_s: float | None, end: Callable[[], None]) -> None:
        self.limit_s, self.end = limit_s, end
        self._until = 0.0
        self._timer: threading.Timer | None = None

    def again(self, times: float = 1.0) -> None:
        """From now on so many times the limit is given."""
        if self.limit_s is not None:
            self._until = time.monotonic() + times * self.limit_s

    def __enter__(self) -> Watch:
        self.again()
        if self.limit_s is not None:
            self._arm(self.limit_s)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _arm(self, left: float) -> None:
        self._timer = threading.Timer(left, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        left = self._until - time.monotonic()
        if self._timer is None:
            return
        if left > 0:
            self._arm(left)
        else:
            self.end()


class Statements:
    """What is asked of a database within one transaction.

    Args:
        cursor: of psycopg.
        watch: told of each statement.
        reads_only: whether rows cannot be locked, as in a replica: then a table may go between two statements.
    """

    def __init__(self, cursor: Any, watch: Watch, reads_only: bool = False) -> None:
        self.cursor, self.watch, self.reads_only = cursor, watch, reads_only

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """One statement; see psycopg."""
        self.watch.again()
        self.cursor.execute(statement, values or None)
        self.watch.again()

    def executemany(self, statement: str, values: Sequence[Sequence[Any]]) -> None:
        """One statement for many rows; see psycopg."""
        self.watch.again(_MANY)
        self.cursor.executemany(statement, values)
        self.watch.again()

    def fetchone(self) -> Any:
        """The next row, or None."""
        return self.cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        found: list[Any] = self.cursor.fetchall()
        return found

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        return int(self.cursor.rowcount)


def watch_of(connection: Any, timeout_s: float | None) -> Watch:
    """Of a connection of psycopg's: whoever waits on it sees its end.

    Args:
        connection: that is open.
        timeout_s: that the server gives a statement; None for none.
    """
    number = connection.pgconn.socket

    def end() -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as ending:
            ending.shutdown(socket.SHUT_RDWR)

    return Watch(None if timeout_s is None else _LONGER * timeout_s, end)
