"""Every sample gets its own answer, in batches as large as may be, and nothing waits for nobody."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from lightning_tl.serving.answering import BadInputError
from lightning_tl.serving.service.batcher import Batcher, QueueFullError

LATER = 1e12


def batcher(compute: Callable[[list[Any]], Sequence[Any]], sizes: list[int] | None = None, **given: Any) -> Batcher:
    settings = {"max_batch": 4, "max_wait_s": 0.0, "queue": 1_000, **given}
    return Batcher(compute, on_batch=(sizes if sizes is not None else []).append, **settings)


def put(into: Batcher, *samples: Any, deadline: float = LATER) -> list[Future[Any]]:
    with into.announce() as announced:
        return announced.put(samples, deadline)


def test_answers_are_those_of_the_samples_whoever_asks() -> None:
    sizes: list[int] = []
    doubling = batcher(lambda numbers: [2 * number for number in numbers], sizes)
    wrong: list[int] = []

    def ask(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(50):
            numbers = [draw.randrange(10**6) for _ in range(draw.randint(1, 7))]
            if [future.result(10) for future in put(doubling, *numbers)] != [2 * number for number in numbers]:
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    doubling.close()
    assert wrong == [] and max(sizes) == 4 and len(doubling) == 0


def test_who_asks_alone_does_not_wait_and_who_is_announced_is_waited_for() -> None:
    sizes: list[int] = []
    slow = batcher(lambda samples: samples, sizes, max_wait_s=5.0)
    started = time.monotonic()
    assert put(slow, 1)[0].result(1) == 1
    assert time.monotonic() - started < 1
    with slow.announce() as other:
        first = put(slow, 2)[0]
        time.sleep(0.05)
        assert not first.done(), "another request is on its way"
        second = other.put([3], LATER)[0]
    assert (first.result(1), second.result(1)) == (2, 3)
    with slow.announce():
        third = put(slow, 4)[0]
    assert third.result(1) == 4, "a request that comes to nothing is not waited for"
    slow.close()
    assert sizes == [1, 2, 1]


def test_a_full_queue_refuses_and_takes_nothing() -> None:
    go = threading.Event()
    held = batcher(lambda samples: go.wait(10) and samples, queue=5)
    first = put(held, "in work")
    while len(held):
        time.sleep(0.001)
    waiting = put(held, 1, 2, 3)
    with pytest.raises(QueueFullError):
        put(held, 4, 5, 6)
    with held.announce(), held.announce(), pytest.raises(QueueFullError) as full:
        held.announce()
    assert full.value.retry_after_s >= 1 and len(held) == 3
    go.set()
    assert [future.result(1) for future in [*first, *waiting, *put(held, 4)]] == ["in work", 1, 2, 3, 4]
    held.close()


def test_what_nobody_waits_for_is_not_computed() -> None:
    computed: list[Any] = []
    go = threading.Event()

    def compute(samples: list[Any]) -> list[Any]:
        go.wait(10)
        computed.extend(samples)
        return samples

    held = batcher(compute)
    put(held, "in work")
    while len(held):
        time.sleep(0.001)
    (late,), (given_up,), (kept,) = (
        put(held, "late", deadline=time.monotonic()),
        put(held, "given up"),
        put(held, "kept"),
    )
    given_up.cancel()
    go.set()
    assert kept.result(1) == "kept"
    with pytest.raises(TimeoutError):
        late.result(1)
    held.close()
    assert computed == ["in work", "kept"]


def test_one_bad_sample_fails_nobody_else() -> None:
    def compute(samples: list[int]) -> list[Any]:
        if 3 in samples:
            raise BadInputError("no 3")
        return [BadInputError("no 5") if sample == 5 else sample for sample in samples]

    strict = batcher(compute, max_wait_s=1.0)
    with strict.announce() as announced:
        found = announced.put([1, 3, 5, 7], LATER)
    assert [found[0].result(1), found[3].result(1)] == [1, 7]
    for place in (1, 2):
        with pytest.raises(BadInputError, match="no"):
            found[place].result(1)
    strict.close()


def test_too_few_answers_are_no_answers() -> None:
    short = batcher(lambda samples: samples[:-1])
    with pytest.raises(RuntimeError, match="0 answers to 1"):
        put(short, 1)[0].result(1)
    short.close()


def test_what_waits_at_the_end_is_answered() -> None:
    slow = batcher(lambda samples: time.sleep(0.01) or samples, max_batch=1)
    waiting = put(slow, *range(10))
    slow.close()
    assert [future.result(0) for future in waiting] == list(range(10))
