"""What SIGTERM does while a run is set up: one line, and the exit code that shells expect."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any


def end_with_a_line() -> None:
    """Until training begins, whose checkpoint is another matter, SIGTERM ends the command with 143 and one line."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, frame: Any) -> None:
    print("\nterminated", file=sys.stderr)
    raise SystemExit(128 + number)
