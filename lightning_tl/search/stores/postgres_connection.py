"""`PostgresConnection`: one connection that is made when it is needed, behind a circuit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_tl.search.stores.circuit import Circuit, UnreachableError
from lightning_tl.search.stores.statements import Statements, watch_of


class PostgresConnection:
    """A database with pgvector, asked by one thread at a time.

    Args:
        dsn: of the database.
        timeout_s: for connecting, and for each statement.
        circuit: around every transaction.
    """

    def __init__(self, dsn: str, timeout_s: float, circuit: Circuit) -> None:
        self.dsn, self.timeout_s, self.circuit = dsn, timeout_s, circuit
        self._lock = threading.RLock()
        self._connection: Any = None
        self.reads_only = False

    @contextmanager
    def asking(self, unlimited: bool = False) -> Iterator[Statements]:
        """A cursor in a transaction of its own.

        Args:
            unlimited: statements may take as long as they do.

        Raises:
            UnreachableError: the database does not answer in time.
            ValueError: it cannot keep or compare a value, or does not allow what is asked.
        """
        psycopg, register = _libraries()
        with self._lock, self.circuit.call(psycopg.OperationalError, psycopg.InterfaceError):
            try:
                connection = self._opened(psycopg, register)
                limit_s = None if unlimited else self.timeout_s
                with watch_of(connection, limit_s) as watch, connection.transaction(), connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {int(1_000 * (limit_s or 0))}")
                    yield Statements(cursor, watch, self.reads_only)
            except (psycopg.DataError, psycopg.NotSupportedError) as error:  # as of a text with the character 0
                raise ValueError(f"the database cannot compare or keep this value: {error}") from None
            except (psycopg.OperationalError, psycopg.InterfaceError):
                self._drop()
                raise
            except psycopg.errors.UndefinedTable as error:  # only where nothing can be locked: see `Statements`
                raise UnreachableError(f"{self.circuit.name} was given other tables just now: ask again") from error
            except psycopg.Error as error:  # as of a role that may not make tables
                raise ValueError(f"the database does not take this: {error}") from None

    def _opened(self, psycopg: Any, register: Any) -> Any:
        if self._connection is None or self._connection.closed:
            made = psycopg.connect(self.dsn, connect_timeout=max(1, round(self.timeout_s)))
            self._connection = made
            with watch_of(made, self.timeout_s):
                (self.reads_only,) = made.execute("SELECT current_setting('transaction_read_only')::bool").fetchone()
                if made.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone() is None:
                    made.execute("CREATE EXTENSION vector")
                made.commit()
                register(made)
        return self._connection

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:  # as of a model that another was put in place of
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        """End the connection; the next transaction makes another."""
        with self._lock:
            self._drop()


def _libraries() -> tuple[Any, Any]:
    try:
        import psycopg
        from pgvector.psycopg import register_vector
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a catalogue in PostgreSQL needs psycopg and pgvector; install them with: python -m pip install "
            '"lightning-tl[postgres]"'
        ) from None
    return psycopg, register_vector
