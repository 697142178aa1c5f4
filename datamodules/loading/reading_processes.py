"""How processes that read ahead are started."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait
from typing import Any

_PRELOADED = ["datamodules", "torch.utils.data"]  # imported once by the server, and shared by all of its processes


def reading_context(clean: bool) -> Any:
    """What starts them; None for the platform's own way.

    Forks start at once and share this process's memory.

    Args:
        clean: the library that reads is not safe in forks of a process that used it. They are then forked from a
            process that never did; as with spawned ones, a program of one's own starts them below
            `if __name__ == "__main__"` only, and samples are pickled.
    """
    if sys.platform != "linux":
        return None
    if not clean:
        return multiprocessing.get_context("fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def end_with_parent(worker: int = 0) -> None:
    """In a process that a server forked: end when the process that asked for it was killed, and wait for it no longer.

    Args:
        worker: its number, which plays no part; for `worker_init_fn`.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
