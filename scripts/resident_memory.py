"""Resident memory of a process: what it takes from a moment on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lightning_tl.reports.resources import peak_memory_bytes


class Memory:
    """Resident memory of this process beyond what it has now."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the largest value until now
        file = Path("/proc/self/statm")
        present = int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.exists() else None
        self.base = largest_resident() if present is None else present

    def beyond(self) -> int:
        """Bytes at the most."""
        return largest_resident() - self.base


def largest_resident() -> int:
    """Bytes. Linux's `ru_maxrss` of a process may be that of its parent, `VmHWM` is its own."""
    file = Path("/proc/self/status")
    lines = file.read_text().splitlines() if file.exists() else []
    kib = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return kib[0] * 1024 if kib else peak_memory_bytes() or 0
