"""The blocks of a map shared among processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from lightning_tl.mapping.scene_map import SceneMap, Spent

_opened: SceneMap | None = None


def made_blocks(
    numbers: list[int], here: SceneMap, processes: int, opener: Callable[[], SceneMap], preload: Sequence[str] = ()
) -> Iterator[tuple[int, Spent]]:
    """Make blocks, and tell of each that is done, in any order.

    This process works, too. The others are forked from one that has imported everything, whose memory they share.

    Args:
        numbers: of the blocks.
        here: the opened job of this process.
        processes: that work, this one among them.
        opener: opens the job in another process; it is pickled.
        preload: names of modules that all of them need.

    Raises:
        OSError: of a block; others that are done stay.
        ChildProcessError: a process died.
    """
    others = min(processes, len(numbers)) - 1
    left = iter(numbers)
    if others < 1:
        yield from ((number, here.make(number)) for number in left)
        return
    context = _context(preload)
    with ProcessPoolExecutor(others, context, _open, (opener, context.Value("i", 0))) as pool:
        waiting: dict[Future[Spent], int] = {}
        try:
            while True:
                for number in islice(left, max(0, 2 * others - len(waiting))):
                    waiting[pool.submit(_make, number)] = number
                own = next(left, None)
                if own is None:
                    break
                yield own, here.make(own)
                yield from _taken(waiting, [future for future in waiting if future.done()])
            while waiting:
                yield from _taken(waiting, wait(waiting, return_when=FIRST_COMPLETED).done)
        except BrokenProcessPool:
            raise ChildProcessError(
                "a process that made the map died, killed for want of memory perhaps: take fewer --processes or a "
                "smaller --batch_size; what is done stays, and the same command goes on"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _context(preload: Sequence[str]) -> Any:
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def _taken(waiting: dict[Future[Spent], int], done: Iterable[Future[Spent]]) -> Iterator[tuple[int, Spent]]:
    for future in sorted(done, key=lambda each: waiting[each]):
        yield waiting.pop(future), future.result()


def _open(opener: Callable[[], SceneMap], started: Any) -> None:
    global _opened
    with started.get_lock():
        started.value += 1
        number = started.value
    rank_zero_only.rank = number  # type: ignore[attr-defined]  # what is told, the first process has told
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
