"""`Circuit`: a store that does not answer is not asked again at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UnreachableError(OSError):
    """A store does not answer, or was not asked because it did not answer just now."""


class Circuit:
    """Counts failures in a row; from some on it is open, and everything fails at once until a while has passed.

    Then one call may try; where it succeeds the circuit closes.

    Args:
        name: of the store, for messages.
        failures: in a row that open it, at least 1.
        rest_s: seconds that it stays open, above 0.
        clock: seconds.
    """

    def __init__(
        self, name: str, failures: int = 3, rest_s: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if failures < 1 or not rest_s > 0:
            raise ValueError(f"failures must be at least 1 and rest_s above 0, got {failures} and {rest_s}")
        self.name, self.failures, self.rest_s, self.clock = name, failures, rest_s, clock
        self._lock = threading.Lock()
        self._failed = 0
        self._again_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls fail without being made."""
        return self._failed >= self.failures and self.clock() < self._again_at

    @contextmanager
    def call(self, *errors: type[Exception]) -> Iterator[None]:
        """Around one call of the store.

        Args:
            errors: of the library, that mean that the store did not answer.

        Raises:
            UnreachableError: in place of these, and where the circuit is open.
        """
        with self._lock:
            if self.is_open:
                left = self._again_at - self.clock()
                raise UnreachableError(f"{self.name} did not answer just now; it is asked again in {left:.1f} s")
            if self._failed >= self.failures:
                self._again_at = self.clock() + self.rest_s  # this call tries, others go on to rest
        try:
            yield
        except errors as error:
            with self._lock:
                self._failed += 1
                self._again_at = self.clock() + self.rest_s
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UnreachableError(f"{self.name} does not answer: {reason}") from error
        with self._lock:
            self._failed = 0
