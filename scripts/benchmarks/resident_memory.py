"""Resident memory of a process: what it takes from a moment on."""

from __future__ import annotations

import threading

import psutil

EVERY = 0.005


class Memory:
    """Resident memory of this process beyond what it has now, looked at 200 times a second.

    Looked at, because the system's own largest value (`ru_maxrss`, Linux's `VmHWM`) counts from the start of the
    process, and only some Linux kernels let a process set it back.
    """

    def __init__(self) -> None:
        self.base = self.peak = resident()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.ended.wait(EVERY):
            self.peak = max(self.peak, resident())

    def beyond(self) -> int:
        """Bytes at the most until now, when the watch ends."""
        self.ended.set()
        self.thread.join()
        self.peak = max(self.peak, resident())
        return self.peak - self.base


def resident() -> int:
    """Bytes that this process has in memory now."""
    return int(psutil.Process().memory_info().rss)
