"""Samples of many requests, computed together."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from lightning_tl.serving.answering import BadInputError, UnavailableError


class QueueFullError(Exception):
    """As many samples wait as may.

    Args:
        retry_after_s: whole seconds after which there may be room.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests wait for this model: ask again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass
class _Waiting:
    sample: Any
    deadline: float  # by time.monotonic
    answer: Future[Any] = field(default_factory=Future)


class Batcher:
    """A bounded queue before one model, and the thread that empties it.

    A sample waits for others only while some are announced, that is, while their requests are being read or prepared:
    whoever asks alone gets an answer at once. What is past its deadline or given up is not computed.

    Args:
        compute: answers to a list of samples, in their order. Where it raises for several samples, each is tried
            alone, so that one bad sample fails nobody else's request.
        max_batch: most samples of a batch.
        max_wait_s: longest wait for announced samples.
        queue: most samples that wait, announced requests among them.
        on_batch: told the size of each batch that is computed.
    """

    def __init__(
        self,
        compute: Callable[[list[Any]], Sequence[Any]],
        *,
        max_batch: int,
        max_wait_s: float,
        queue: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.compute, self.max_batch, self.max_wait_s, self.queue = compute, max_batch, max_wait_s, queue
        self.on_batch = on_batch
        self._waiting: deque[_Waiting] = deque()
        self._announced = 0
        self._closed = False
        self._sample_s = 0.0  # running mean of what a sample takes
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many samples wait."""
        return len(self._waiting)

    @property
    def announced(self) -> int:
        """How many requests are being read or prepared."""
        return self._announced

    def announce(self) -> Announced:
        """Say that samples are on their way.

        Raises:
            QueueFullError: there is no room for them.
        """
        with self._changed:
            self._make_sure_of_room(1)
            self._announced += 1
        return Announced(self)

    def close(self) -> None:
        """Compute what waits, then end the thread; nothing more may be announced."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def put(self, samples: Sequence[Any], deadline: float) -> list[Future[Any]]:
        """Let samples of an announced request wait; see `Announced.put`."""
        with self._changed:
            self._announced -= 1
            self._changed.notify_all()
            self._make_sure_of_room(len(samples))
            waiting = [_Waiting(sample, deadline) for sample in samples]
            self._waiting.extend(waiting)
        return [one.answer for one in waiting]

    def withdraw(self) -> None:
        """An announced request has come to nothing."""
        with self._changed:
            self._announced -= 1
            self._changed.notify_all()

    def _make_sure_of_room(self, samples: int) -> None:
        taken = len(self._waiting) + self._announced
        if taken + samples > self.queue:
            raise QueueFullError(max(1, math.ceil(taken * self._sample_s)))

    def _work(self) -> None:
        while (batch := self._take()) is not None:
            now = time.monotonic()
            wanted = [one for one in batch if one.answer.set_running_or_notify_cancel()]
            for one in wanted:
                if one.deadline <= now:
                    one.answer.set_exception(TimeoutError())
            self._compute([one for one in wanted if one.deadline > now])

    def _take(self) -> list[_Waiting] | None:
        """The next batch, or None where there will be no more."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            leave = time.monotonic() + self.max_wait_s
            while len(self._waiting) < self.max_batch and self._announced and not self._closed:
                if (left := leave - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)
            return [self._waiting.popleft() for _ in range(min(self.max_batch, len(self._waiting)))]

    def _compute(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        self.on_batch(len(batch))
        started = time.monotonic()
        try:
            answers = self.compute([one.sample for one in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"the model gave {len(answers)} answers to {len(batch)} samples")
        except Exception as error:
            if len(batch) == 1 or isinstance(error, UnavailableError):  # of all alike, and each try waits
                for one in batch:
                    one.answer.set_exception(error)
                return
            for one in batch:
                self._compute([one])
            return
        self._sample_s = 0.8 * self._sample_s + 0.2 * (time.monotonic() - started) / len(batch)
        for one, answer in zip(batch, answers, strict=True):
            if isinstance(answer, BadInputError):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)


class Announced:
    """A request whose samples are on their way; leaving it without `put` withdraws it.

    Args:
        batcher: where they will wait.
    """

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self._there = False

    def __enter__(self) -> Announced:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._there:
            self._there = True
            self.batcher.withdraw()

    def put(self, samples: Sequence[Any], deadline: float) -> list[Future[Any]]:
        """Let the samples wait for their batches.

        Args:
            samples: as the model reads them.
            deadline: by `time.monotonic`, after which nobody wants an answer.

        Returns:
            what will hold the answers, in order; `TimeoutError` where the deadline passed before the model had time.

        Raises:
            QueueFullError: there is no room for all of them; none waits then.
        """
        self._there = True
        return self.batcher.put(samples, deadline)
