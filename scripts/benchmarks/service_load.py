"""Asks a service of classes for `service.py`, and checks every answer against the version that it names."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOLERANCE = 1e-3  # of probabilities


@dataclass(frozen=True)
class Question:
    """One request, and its answers by version.

    Args:
        content: of the request.
        kind: content type.
        truth: by version, probabilities in the order of the classes, or ids of items.
        path: where it is asked.
    """

    content: bytes
    kind: str
    truth: Mapping[str, Sequence[float] | Sequence[str]]
    path: str = "/classify"

    def is_right(self, version: str, found: Mapping[str, Any]) -> bool:
        """Whether an answer is that of the version that it names."""
        if "items" in found:
            return [one["item"] for one in found["items"]] == self.truth[version]
        shares = list(found.get("predictions", [found])[0]["probabilities"].values())
        return np.allclose(shares, self.truth[version], atol=TOLERANCE)


@dataclass
class Result:
    """What came of many requests.

    Args:
        seconds: each took, from when it should have been sent.
        wrong: what was said in place of the right answers.
        versions: how many answers named each.
        refused: how many were told to come again (503).
        lasted_s: all of them together.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    lasted_s: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.seconds) / self.lasted_s

    def percentile(self, share: float) -> float:
        """Milliseconds that so many of 100 answers took at most."""
        return float(np.percentile(self.seconds, share)) * 1_000 if self.seconds else float("nan")


class Connection:
    """One HTTP connection that is kept open; as small as can be, so that the load costs little beside the service."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, content: bytes, kind: str, headers: str = "") -> tuple[int, bytes]:
        """Status and body of the answer to a POST, or to a GET where there is no content."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        method = "POST" if kind else "GET"
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n"
        writer.write(f"{head}{headers}\r\n".encode() + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), body

    def close(self) -> None:
        """End it; the next question opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _ask(connection: Connection, question: Question, result: Result, due: float) -> None:
    try:
        status, body = await connection.ask(question.path, question.content, question.kind)
        found = json.loads(body)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        connection.close()
        result.wrong.append(f"{type(error).__name__}: {error}")
        return
    if status == 503:
        result.refused += 1
        return
    if status != 200:
        result.wrong.append(f"{status}: {body[:200]!r}")
        return
    version = found.get("version", "torch")
    if not question.is_right(version, found):
        result.wrong.append(f"version {version} answered {found}, and its answer is {question.truth[version]}")
        return
    result.seconds.append(time.perf_counter() - due)
    result.versions[version] += 1


async def in_turn(port: int, questions: Sequence[Question], connections: int, seconds: float) -> Result:
    """So many connections, each of which asks as soon as it is answered."""
    result, ends = Result(), time.perf_counter() + seconds
    started = time.perf_counter()

    async def one(place: int) -> None:
        connection = Connection(port)
        while time.perf_counter() < ends:
            await _ask(connection, questions[place % len(questions)], result, time.perf_counter())
            place += connections
        connection.close()

    await asyncio.gather(*(one(place) for place in range(connections)))
    result.lasted_s = time.perf_counter() - started
    return result


async def at_a_rate(
    port: int,
    questions: Sequence[Question],
    rate: float,
    seconds: float,
    halfway: Callable[[], Awaitable[None]] | None = None,
) -> Result:
    """So many requests a second, whether or not earlier ones are answered; the clock runs from when each is due."""
    result, free = Result(), [Connection(port) for _ in range(4)]
    started, tasks = time.perf_counter(), set()

    async def one(question: Question, due: float) -> None:
        connection = free.pop() if free else Connection(port)
        await _ask(connection, question, result, due)
        free.append(connection)

    count = int(rate * seconds)
    for place in range(count):
        due = started + place / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.add(asyncio.create_task(one(questions[place % len(questions)], due)))
        if halfway is not None and place == count // 2:
            tasks.add(asyncio.create_task(halfway()))  # type: ignore[arg-type]
    await asyncio.gather(*tasks)
    result.lasted_s = time.perf_counter() - started
    for connection in free:
        connection.close()
    return result
