"""Load on `lightning-tl serve`: a steady rate with a reload in the middle, more than it can take, and against others.

    python scripts/benchmarks/service.py --run RUN_FOLDER                            # after lightning-tl export
    python scripts/benchmarks/service.py --run RUN_FOLDER --against fastapi litserve
    python scripts/benchmarks/service.py --run RUN_FOLDER --seconds 300 --rate 50

Every answer is compared with that of the version that it names. The reload puts a bundle in place that differs by its
temperature. The load takes processor time of the same machine. LitServe is looked for in the Python that
`--litserve_python` names.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from service_load import Connection, Question, Result, at_a_rate, in_turn

from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import PredictingModel, RecommendingModel, Wish
from lightning_tl.serving.bundle.manifest import FILE

ADMIN = "of the benchmark"
QUESTIONS = 40
WORDS = ("soft", "dress", "fits", "well", "colour", "is", "not", "quite", "as", "shown", "warm", "light", "summer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def program(command: Sequence[str], port: int) -> Iterator[None]:
    """A service that answers at a port, for as long as it is needed."""
    environment = {**os.environ, "LIGHTNING_TL_ADMIN_TOKEN": ADMIN, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > ends:
                    raise SystemExit(f"{command[0]} does not answer") from None
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # LitServe's children live on


def raw_samples(model: PredictingModel, seed: int = 0) -> list[bytes | str]:
    draw = np.random.default_rng(seed)
    if model.facts.kind == "images":
        side, files = int(model.facts.reads["image_size"]), []
        for _ in range(QUESTIONS):
            coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3)).astype(np.uint8))
            file = io.BytesIO()
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
            files.append(file.getvalue())
        return list(files)
    return [" ".join(draw.choice(WORDS, size=draw.integers(5, 60))) for _ in range(QUESTIONS)]


def questions_for(bundles: Sequence[Path], raw: bool) -> list[Question]:
    """Requests to our service where `raw`, else as the others read them, with what each bundle answers."""
    models = [model for folder in bundles if isinstance(model := open_bundle(folder), PredictingModel)]
    samples = raw_samples(models[0])
    truths: list[dict[str, list[float]]] = [{} for _ in samples]
    for model in models:
        outputs = model.predict([model.prepare(sample) for sample in samples]).outputs
        for truth, row in zip(truths, outputs.tolist(), strict=True):
            truth[model.facts.version] = row
    if not raw:  # these know no temperature
        plain = models[0].predict([models[0].prepare(sample) for sample in samples], calibrated=False).outputs
        truths = [{"torch": row} for row in plain.tolist()]
    made = []
    for sample, truth in zip(samples, truths, strict=True):
        if isinstance(sample, bytes) and raw:
            made.append(Question(sample, "image/png", truth))
        else:
            encoded = {"image": base64.b64encode(sample).decode()} if isinstance(sample, bytes) else {"text": sample}
            made.append(Question(json.dumps(encoded).encode(), "application/json", truth))
    return made


def wishes_for(bundles: Sequence[Path]) -> list[Question]:
    """Recommendations for users that the bundles know."""
    models = [model for folder in bundles if isinstance(model := open_bundle(folder), RecommendingModel)]
    made = []
    for user in models[0].facts.card["example_users"]:
        truth = {model.facts.version: model.recommend([Wish(user=user, k=100)])[0].items for model in models}
        content = json.dumps({"user": user, "k": 100}).encode()
        made.append(Question(content, "application/json", truth, "/recommend"))
    return made


def told(result: Result) -> str:
    text = f"{result.rate:6.1f} requests/s   p50 {result.percentile(50):6.1f} ms   p99 {result.percentile(99):6.1f} ms"
    return f"{text}   failed or wrong {len(result.wrong)}{': ' + result.wrong[0] if result.wrong else ''}"


async def steady(port: int, folder: Path, later: Path, questions: Sequence[Question], given: Any) -> None:
    async def reload() -> None:
        os.replace(folder, folder.with_name("before"))
        os.replace(later, folder)
        header = f"authorization: Bearer {ADMIN}\r\n"
        status, body = await Connection(port).ask("/admin/reload", b"", "text/plain", header)
        assert status == 200, body

    await in_turn(port, questions, 2, 1.0)
    result = await at_a_rate(port, questions, given.rate, given.seconds, reload)
    print(f"{given.rate:g} a second for {given.seconds:g} s, a reload in the middle\n  {told(result)}")
    print(f"  answers by version: {', '.join(f'{name[:8]} {count}' for name, count in result.versions.items())}")


async def too_much(port: int, questions: Sequence[Question], given: Any) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            _, body = await Connection(port).ask("/metrics", b"", "")
            line = next(line for line in body.decode().splitlines() if line.startswith("lightning_tl_queue_samples{"))
            longest = max(longest, float(line.rsplit(" ", 1)[1]))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    result = await in_turn(port, questions, given.overload, 4.0)
    watching.cancel()
    print(f"{given.overload} connections at a time\n  {told(result)}")
    print(f"  told to come again {result.refused:,}; longest queue that was seen {longest:.0f}")


def compare(run: Path, bundle: Path, kind: str, given: Any) -> None:
    """Each service at several numbers of connections, in turn, so that what else runs here meets all."""
    ours, theirs = questions_for([bundle], True), questions_for([bundle], False)
    results: dict[tuple[str, int], list[Result]] = {}
    commands: dict[str, tuple[list[str], list[Question]]] = {}
    rivals = str(Path(__file__).with_name("service_rivals.py"))
    for name in ("this", *given.against):
        port = free_port()
        python = given.litserve_python if name == "litserve" else sys.executable
        words = [python, rivals, name, str(run / "model"), kind, str(port), str(given.threads)]
        own = [sys.executable, "-m", "lightning_tl", "serve", f"--bundle=m={bundle}", f"--port={port}"]
        commands[name] = (
            [*own, f"--threads={given.threads}"] if name == "this" else words,
            ours if name == "this" else theirs,
        )
    for _ in range(given.rounds):
        for name, (command, questions) in commands.items():
            port = int(command[-2] if name != "this" else command[-2].partition("=")[2])
            with program(command, port):
                asyncio.run(in_turn(port, questions, 2, 2.0))
                for connections in given.connections:
                    result = asyncio.run(in_turn(port, questions, connections, given.each_s))
                    results.setdefault((name, connections), []).append(result)
    merged = {key: _merged(each) for key, each in results.items()}
    for (name, connections), result in merged.items():
        print(f"  {name:<9} {connections:>3} connections  {told(result)}")
    for name in given.against:
        for connections in given.connections:
            other = merged[name, connections]
            same = merged["this", connections].rate / other.rate
            fit = [merged["this", n].rate for n in given.connections]
            fit = [
                rate
                for rate, n in zip(fit, given.connections, strict=True)
                if merged["this", n].percentile(99) <= other.percentile(99)
            ]
            at_p99 = f"{max(fit) / other.rate:.2f}" if fit else "none"
            print(f"  against {name}, {connections} connections: {same:.2f} times; at its p99 or less {at_p99} times")


def _merged(results: Sequence[Result]) -> Result:
    whole = Result()
    for one in results:
        whole.seconds += one.seconds
        whole.wrong += one.wrong
        whole.lasted_s += one.lasted_s
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run with its bundle")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the steady rate")
    parser.add_argument("--overload", type=int, default=700, help="connections at a time that are too many")
    parser.add_argument("--against", nargs="*", default=[], choices=["fastapi", "litserve"])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--each_s", type=float, default=4.0, help="seconds of each measurement of a comparison")
    parser.add_argument("--threads", type=int, default=1, help="processor threads of a model")
    parser.add_argument("--litserve_python", default=sys.executable)
    given = parser.parse_args()
    bundle = given.run / "bundle"
    with tempfile.TemporaryDirectory() as place:
        folder, later = Path(place) / "now", Path(place) / "later"
        for copy in (folder, later):
            shutil.copytree(bundle, copy)
        manifest = json.loads((later / FILE).read_text(encoding="utf-8"))
        (later / FILE).write_text(json.dumps({**manifest, "temperature": 2 * (manifest["temperature"] or 1.0)}))
        if given.against:
            compare(given.run, bundle, manifest["kind"], given)
            return
        port, retrieval = free_port(), manifest["kind"] == "recommendations"
        questions = wishes_for([folder, later]) if retrieval else questions_for([folder, later], True)
        command = [sys.executable, "-m", "lightning_tl", "serve", f"--bundle=m={folder}", f"--port={port}"]
        with program(command, port):
            asyncio.run(steady(port, folder, later, questions, given))
            asyncio.run(too_much(port, questions, given))


if __name__ == "__main__":
    main()
