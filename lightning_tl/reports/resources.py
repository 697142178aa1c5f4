"""Time and memory of a process, in words."""

from __future__ import annotations

import sys


def peak_memory_bytes() -> int | None:
    """Largest resident memory of this process so far; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def duration_text(seconds: float) -> str:
    """`42 s`, `5 min 12 s`, `3 h 04 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory_text(size: int) -> str:
    """`812 MiB`, `1.9 GiB`."""
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
