"""Commands in processes of their own, as many at a time as there are devices for them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_INTERRUPTED = "interrupted"

Command = Callable[[list[str]], None]
"""Runs a command line in this process, and leaves by `SystemExit` with a code that is not 0 where it fails."""


@dataclass(frozen=True)
class Job:
    """A command and the file that takes what it prints.

    Args:
        arguments: the command line, without the program's name.
        log: takes standard output and errors.
    """

    arguments: list[str]
    log: Path


class Runner(Protocol):
    """Runs jobs somewhere, each in a process of its own."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, str | None]]:
        """Run the jobs; for each as it ends, its number and why it failed, or None."""
        ...


class Processes:
    """Runs jobs on this machine: one after the other, or one on each GPU.

    Each has a process of its own, so that one that dies takes no other with it. Processes are forked from one that
    has imported everything; a job ends with the process that started it, also where that one is killed.

    Args:
        command: runs a command line; found by its name, so it must be a function of a module.
        gpus: numbers of the GPUs to use; empty for the processor.
        preload: modules to import once.
    """

    def __init__(self, command: Command, gpus: Sequence[str] = (), preload: Sequence[str] = ()) -> None:
        self.command, self.gpus = command, list(gpus)
        self._context = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
        if preload and hasattr(self._context, "set_forkserver_preload"):
            self._context.set_forkserver_preload(list(preload))

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, str | None]]:
        """Run the jobs.

        Returns:
            for each as it ends, its number and why it failed, or None.
        """
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        ended: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
        for number in range(len(jobs)):
            waiting.put(number)
        stopped = threading.Event()
        alive: set[int] = set()

        def work(gpu: str | None) -> None:
            while not stopped.is_set():
                try:
                    number = waiting.get_nowait()
                except queue.Empty:
                    return
                ended.put((number, self._one(jobs[number], gpu, alive)))

        places: list[str | None] = [*self.gpus] if self.gpus else [None]
        threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in places]
        for thread in threads:
            thread.start()
        try:
            for _ in jobs:
                number, error = ended.get()
                if error == _INTERRUPTED:
                    raise KeyboardInterrupt
                yield number, error
        except BaseException:  # Ctrl-C, or nobody wants more: jobs keep their checkpoints first
            stopped.set()
            for job in alive.copy():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(job, signal.SIGINT)
            raise
        finally:
            stopped.set()
            for thread in threads:
                thread.join()

    def _one(self, job: Job, gpu: str | None, alive: set[int]) -> str | None:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        arguments = (self.command, job.arguments, str(job.log), gpu, os.getcwd(), dict(os.environ))
        process = self._context.Process(target=_work, args=arguments)  # type: ignore[attr-defined]
        process.start()
        alive.add(process.pid)
        process.join()
        alive.discard(process.pid)
        if process.exitcode in (130, -signal.SIGINT):
            return _INTERRUPTED
        return None if process.exitcode == 0 else reason(job.log, process.exitcode)


def reason(log: Path, code: int | None) -> str:
    """Why a job failed: its own last error, or how it ended."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if told:
        return told[-1]
    if code is not None and code < 0:
        return f"it was ended by signal {-code}" + (", as when memory is short" if code == -9 else "")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last or f"it ended with exit code {code}"


def _work(
    command: Command, arguments: list[str], log: str, gpu: str | None, folder: str, environment: dict[str, str]
) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal reaches the one who started this, who tells it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.chdir(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    command(arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
