"""Standard output that cannot end a run: letters that it lacks are replaced, and a closed pipe is told once."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO


class LastingOutput:
    """A text stream that goes on, without words, when nobody reads it any more.

    Args:
        stream: what is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._closed = False

    def write(self, text: str) -> int:
        """As of a text stream."""
        if not self._closed:
            try:
                return self._stream.write(text)
            except BrokenPipeError:
                self._go_on()
        return len(text)

    def flush(self) -> None:
        """As of a text stream."""
        if not self._closed:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self._go_on()

    def _go_on(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):  # what is left in its buffer goes there
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        with contextlib.suppress(OSError):
            print("the output's pipe was closed; the command goes on without it", file=sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_output_last() -> None:
    """Let standard output and errors stand letters that they cannot write, and standard output a closed pipe."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = LastingOutput(sys.stdout)
