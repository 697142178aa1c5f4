"""A life of a service of recommendations under load: a refresh of its index, a reload, its end and a start anew.

    python scripts/benchmarks/service_life.py --run RUN_FOLDER --minutes 5    # of StreamRec, after its export
    python scripts/benchmarks/service_life.py --run RUN_FOLDER --minutes 5 --store --rate 10

Users whom it knows, histories, profiles, filters and similar items are asked for at a steady rate, user tower and
search included. Every answer is compared with that of the bundle whose version it names; each bundle is kept for that.
The run is copied, and its copy refreshed with items that came, changed and went. With `--store` its items are searched
in a PostgreSQL of the benchmark's own, which is restarted in place of the refresh: until it is back there is 503, and
those who were told so ask again. It ends with 1 where an answer was lost, failed or mixed. The load and the refresh
take processor time of the same machine. A request that finds nobody listening, or a connection that was closed while
it was idle, is asked again, as any client does, and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from service import ADMIN, free_port, too_much
from service_database import Database
from service_load import Connection, Question
from service_wishes import Answers, Asked, answer_of, questions_for

from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import RecommendingModel
from lightning_tl.serving.bundle.manifest import Manifest

CHANGED = 20  # items that come, that change and that go
PATIENCE_S = 60.0
Event = tuple[float, str, Callable[[], Awaitable[None]]]


class Life:
    """One service, asked all the while.

    Args:
        run: a copy of the run, with its bundle.
        kept: folder where bundles are kept by version.
        questions: what is asked in turn, wishes or {"similar": item, "k": k}.
        rate: a second.
        store: address of a database that has the items, as the catalogue "life"; None for the index of files.
    """

    def __init__(
        self, run: Path, kept: Path, questions: Sequence[Asked], rate: float, store: str | None = None
    ) -> None:
        self.run, self.kept, self.questions, self.rate = run, kept, questions, rate
        self.more = [] if store is None else [f"--store={store}", "--name=life"]
        self.folders: dict[str, Path] = {}  # by version, of bundles
        self.port, self.phase, self.answers = free_port(), "calm", Answers()
        self.process: subprocess.Popen[bytes] | None = None
        self.keep()

    def keep(self) -> None:
        """Remember the bundle that lies there now, so that its answers can be checked."""
        version = Manifest.read(self.run / "bundle").version
        if not (self.kept / version).exists():
            shutil.copytree(self.run / "bundle", self.kept / version)
        stored = hashlib.sha256(f"{version} in a store".encode()).hexdigest()
        self.folders[stored if self.more else version] = self.kept / version

    async def start(self) -> None:
        """Start the service, and wait until it answers."""
        words = ["serve", f"--bundle=m={self.run / 'bundle'}", f"--port={self.port}", *self.more]
        environment = {**os.environ, "LIGHTNING_TL_ADMIN_TOKEN": ADMIN, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lightning_tl", *words], env=environment, stdout=subprocess.DEVNULL
        )
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                if (await Connection(self.port).ask("/ready", b"", ""))[0] == 200:
                    return
            except OSError:
                await asyncio.sleep(0.05)
        raise SystemExit("the service does not answer")

    async def end(self) -> None:
        """SIGTERM: it answers what it took, and ends with 0."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self.process.wait, PATIENCE_S)
        if status != 0:
            self.answers.problems.append(f"the service ended with {status}")

    # ---------------------------------------------------------------- what happens

    async def refresh(self, items: Path, gone: Path) -> None:
        """`index refresh` of the run, then SIGHUP."""
        words = ["index", "refresh", "--run", str(self.run), "--items", str(items), "--remove", str(gone)]
        command = ["nice", "-n", "10", sys.executable, "-m", "lightning_tl", *words]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the refresh failed: {done.stderr}")
        self.keep()
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        while 'lightning_tl_reloads_total{model="m",result="done"}' not in await self.metrics():
            await asyncio.sleep(0.05)

    async def reload(self) -> None:
        """By /admin/reload."""
        header = f"authorization: Bearer {ADMIN}\r\n"
        status, body = await Connection(self.port).ask("/admin/reload", b"", "text/plain", header)
        if status != 200:
            self.answers.problems.append(f"reload: {status} {body!r}")

    async def restart(self) -> None:
        """Its end, and a start anew at the same port."""
        await self.end()
        await self.start()

    async def metrics(self) -> str:
        """What it tells Prometheus."""
        return (await Connection(self.port).ask("/metrics", b"", ""))[1].decode()

    # ---------------------------------------------------------------- the load

    async def ask(self, seconds: float, events: Sequence[Event]) -> None:
        """Ask at the rate, while one event after the other happens.

        Args:
            seconds: in all.
            events: share of the time at which each begins, its name, and what happens.
        """
        free = [Connection(self.port) for _ in range(4)]
        started, tasks = time.perf_counter(), set()

        async def happen() -> None:
            for share, name, event in events:
                await asyncio.sleep(max(0.0, started + share * seconds - time.perf_counter()))
                self.phase = name
                await event()
                await asyncio.sleep(1.0)  # what follows from it belongs to it
                self.phase = "calm"

        async def one(place: int, due: float) -> None:
            connection = free.pop() if free else Connection(self.port)
            await self._one(connection, place, due, self.phase)
            free.append(connection)

        happening = asyncio.create_task(happen())
        place = 0
        while time.perf_counter() - started < seconds or not happening.done():
            due = started + place / self.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.add(asyncio.create_task(one(place % len(self.questions), due)))
            place += 1
        await asyncio.gather(*tasks, happening)
        self.asked = place

    async def _one(self, connection: Connection, place: int, due: float, phase: str) -> None:
        asked, ends = self.questions[place], time.perf_counter() + PATIENCE_S
        path, content, kind = "/recommend", json.dumps(asked).encode(), "application/json"
        if "similar" in asked:
            path, content, kind = f"/similar/{asked['similar']}?k={asked['k']}", b"", ""
        while True:
            try:
                status, body = await connection.ask(path, content, kind)
            except (
                ConnectionRefusedError,
                ConnectionResetError,
                BrokenPipeError,
                asyncio.IncompleteReadError,
            ) as error:
                connection.close()
                part = isinstance(error, asyncio.IncompleteReadError) and error.partial
                if part or time.perf_counter() > ends:  # an answer that broke off is lost
                    self.answers.problems.append(f"lost: {error!r}")
                    return
                self.answers.again += 1
                await asyncio.sleep(0.02)
                continue
            if status != 503 or time.perf_counter() > ends:
                break
            self.answers.later += 1
            await asyncio.sleep(0.1)
        if status != 200:
            self.answers.problems.append(f"{status}: {body[:200]!r}")
            return
        found = json.loads(body)
        self.answers.seconds.setdefault(phase, []).append(time.perf_counter() - due)
        self.answers.found[place, found["version"], tuple(item["item"] for item in found["items"])] += 1

    def mixed(self) -> list[str]:
        """Answers that are not those of the version that they name."""
        wrong = []
        for version in {version for _, version, _ in self.answers.found}:
            if version not in self.folders:
                wrong.append(f"nobody put a bundle of version {version} there")
                continue
            model = open_bundle(self.folders[version])
            assert isinstance(model, RecommendingModel)
            for (place, named, items), count in self.answers.found.items():
                if named == version and list(items) != answer_of(model, self.questions[place]):
                    wrong.append(f"{count} times {self.questions[place]} by {version[:12]}")
        return wrong


def told(life: Life, mixed: Sequence[str]) -> str:
    """The table, and what came to nothing."""
    lines = ["| phase | answers | p50 | p99 | slowest |", "|---|---|---|---|---|"]
    for phase, seconds in life.answers.seconds.items():
        p50, p99, most = (np.percentile(seconds, share) * 1_000 for share in (50, 99, 100))
        lines.append(f"| {phase} | {len(seconds):,} | {p50:.1f} ms | {p99:.1f} ms | {most:,.0f} ms |")
    answered = sum(len(seconds) for seconds in life.answers.seconds.values())
    versions = Counter({version[:12]: 0 for _, version, _ in life.answers.found})
    for (_, version, _), count in life.answers.found.items():
        versions[version[:12]] += count
    lines.append(
        f"\nasked {life.asked:,}, answered {answered:,}; asked again as nobody listened {life.answers.again:,}"
    )
    lines.append(f"told to come again (503), and came: {life.answers.later:,}")
    lines.append(
        f"lost or failed {len(life.answers.problems)}, mixed {len(mixed)}; answers by version: {dict(versions)}"
    )
    return "\n".join([*lines, *life.answers.problems[:3], *mixed[:3]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run of StreamRec with its bundle")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--store", action="store_true", help="search in a PostgreSQL, which is restarted")
    parser.add_argument("--overload", type=int, default=700, help="connections at a time that are too many; 0 for none")
    given = parser.parse_args()
    from datamodules import StreamRecDataModule  # here: it takes a second

    table = StreamRecDataModule().tables()[0]
    ids = table["item"].astype(str).tolist()
    come, changed = table.iloc[:CHANGED].assign(item=[f"new-{k}" for k in range(CHANGED)]), table.iloc[:CHANGED].copy()
    changed["title"] = table["title"].iloc[CHANGED : 2 * CHANGED].to_numpy()
    with tempfile.TemporaryDirectory() as place:
        run, kept, new, gone = (Path(place) / name for name in ("run", "kept", "new.parquet", "gone.txt"))
        shutil.copytree(given.run, run)
        pd.concat([come, changed]).to_parquet(new)
        gone.write_text("\n".join(ids[-CHANGED:]))
        store = Database(Path(place) / "database", run / "bundle") if given.store else None
        questions = questions_for(run / "bundle", ids[:-CHANGED])
        life = Life(run, kept, questions, given.rate, None if store is None else store.address)
        events = [
            (0.2, "refresh", lambda: life.refresh(new, gone)),
            (0.6, "reload", life.reload),
            (0.8, "end and start anew", life.restart),
        ]
        if store is not None:
            events[0] = (0.2, "store restarts", store.restart)
        asyncio.run(whole(life, given, events))
        if store is not None:
            store.server.cleanup()
        mixed = life.mixed()
        print(told(life, mixed))
    raise SystemExit(bool(mixed or life.answers.problems))


async def whole(life: Life, given: Any, events: Sequence[Event]) -> None:
    """Start, life, more than it can take, and end."""
    await life.start()
    for place in range(len(life.questions)):  # what is asked for the first time is read from disk
        await life._one(Connection(life.port), place, time.perf_counter(), "first")
    life.answers = Answers()
    await life.ask(given.minutes * 60, events)
    if given.overload and not given.store:
        model = open_bundle(life.run / "bundle")
        assert isinstance(model, RecommendingModel)
        wishes = [asked for asked in life.questions if "similar" not in asked]
        truths = [{model.facts.version: answer_of(model, asked)} for asked in wishes]
        questions = [
            Question(json.dumps(asked).encode(), "application/json", truth, "/recommend")
            for asked, truth in zip(wishes, truths, strict=True)
        ]
        await too_much(life.port, questions, given)
    await life.end()


if __name__ == "__main__":
    main()
