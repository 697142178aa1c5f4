"""The blocks of a map shared among processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

import torch

from lightning_tl.mapping.scene_map import SceneMap, Spent

_opened: SceneMap | None = None


def made_blocks(
    numbers: list[int], here: SceneMap, processes: int, opener: Callable[[], SceneMap]
) -> Iterator[tuple[int, Spent]]:
    """Make blocks, and tell of each that is done, in any order.

    Args:
        numbers: of the blocks.
        here: the opened job of this process.
        processes: that work; with 1 this process does.
        opener: opens the job in another process; it is pickled.

    Raises:
        OSError: of a block; others that are done stay.
        ChildProcessError: a process died.
    """
    if processes == 1 or len(numbers) < 2:
        for number in numbers:
            yield number, here.make(number)
        return
    context = multiprocessing.get_context("spawn")
    count = min(processes, len(numbers))
    started = context.Value("i", 0)
    with ProcessPoolExecutor(count, context, initializer=_open, initargs=(opener, started)) as pool:
        waiting: dict[Future[Spent], int] = {}
        left = iter(numbers)
        try:
            for number in left:
                waiting[pool.submit(_make, number)] = number
                if len(waiting) >= 2 * count:
                    yield from _done(waiting)
            while waiting:
                yield from _done(waiting)
        except BrokenProcessPool:
            raise ChildProcessError(
                "a process that made the map died, killed for want of memory perhaps: take fewer --processes or a "
                "smaller --batch_size; what is done stays, and the same command goes on"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _done(waiting: dict[Future[Spent], int]) -> Iterator[tuple[int, Spent]]:
    finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in sorted(finished, key=lambda each: waiting[each]):
        number = waiting.pop(future)
        yield number, future.result()


def _open(opener: Callable[[], SceneMap], started: Any) -> None:
    global _opened
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    os.environ["LOCAL_RANK"] = str(number % max(1, torch.cuda.device_count()))  # whose GPU it takes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _opened = opener()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _make(number: int) -> Spent:
    assert _opened is not None
    return _opened.make(number)
