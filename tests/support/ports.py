"""Ports for processes that train together, when several tests run at a time."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_RANGE, _EACH = 20_000, 250  # below the ports that the system hands to anyone
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 40
_TAKEN = itertools.count(os.getpid())


def free_port() -> int:
    """A port that no one listens on and that no other worker of pytest-xdist hands out.

    Binding port 0 and closing it, as is usual, leaves a moment in which the system gives the same port to another.
    """
    for number in itertools.islice(_TAKEN, _EACH):
        port = _RANGE + _EACH * _WORKER + number % _EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port from {_RANGE + _EACH * _WORKER} on; {_EACH} were tried")


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of this machine that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield listening.getsockname()[1]
