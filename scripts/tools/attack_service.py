"""Attacks on a live service: its own description, misread in every way, and clients that speak HTTP badly.

    python scripts/tools/attack_service.py --bundle FOLDER --examples 1000

The service runs as `lightning-tl serve` with a bundle. Schemathesis asks all that its OpenAPI describes and what that
forbids, over HTTP, and looks for a 5xx, a status or content that is not described. Then odd clients come, one by one
and together. At the end it must answer, nothing may be left in its queue, and files and memory must be as before. Ends
with 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from odd_clients import OddClient, odd_clients
from PIL import Image

from lightning_tl.serving.bundle.manifest import Manifest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
DEADLINE_S = 3.0
GROWN_MB = 80.0  # between one crowd of odd clients and the next: what the first one took is kept for reuse


def sample(manifest: Manifest) -> tuple[str, str, bytes]:
    """Path, content type and body of a request that is answered with 200."""
    if manifest.kind == "images":
        file, channels = io.BytesIO(), int(manifest.reads.get("channels", 3))
        Image.new("L" if channels == 1 else "RGB", (16, 16)).save(file, "PNG")
        return "/classify", "image/png", file.getvalue()
    bodies = {"texts": {"text": "a text"}, "pairs": {"pairs": [["one", "two"]]}, "recommendations": {"history": []}}
    path = "/recommend" if manifest.kind == "recommendations" else "/classify"
    return path, "application/json", json.dumps(bodies[manifest.kind]).encode()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def started(bundle: Path, port: int) -> subprocess.Popen[bytes]:
    """The service, once it answers."""
    words = ["serve", f"--bundle=m={bundle}", f"--port={port}", f"--deadline_s={DEADLINE_S:g}"]
    process = subprocess.Popen([sys.executable, "-m", "lightning_tl", *words], stdout=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200:
                return process
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("the service does not answer")


def by_description(port: int, examples: int, seed: int) -> list[str]:
    """What Schemathesis finds."""
    code = "import sys; from schemathesis.cli import schemathesis; schemathesis(sys.argv[1:])"
    words = ["run", f"http://127.0.0.1:{port}/openapi.json", f"--checks={CHECKS}", f"--max-examples={examples}"]
    words += [f"--seed={seed}", "--phases=examples,coverage,fuzzing", "--continue-on-failure", "--no-color"]
    words += ["--request-timeout=20", "--suppress-health-check=all", "--warnings=off"]
    done = subprocess.run([sys.executable, "-c", code, *words])
    return [] if done.returncode == 0 else [f"Schemathesis ended with {done.returncode}, see above"]


def by_odd_clients(clients: list[OddClient], port: int) -> list[str]:
    """What comes of them, alone and then together."""
    wrong = []
    for client in clients:
        end, statuses = client.attack(port, 4 * DEADLINE_S)
        right = client.is_right(end, statuses)
        print(f"  {'right' if right else 'WRONG'}  {client.name}: {end} {statuses or ''}", flush=True)
        if not right:
            wrong.append(f"{client.name}: {end} {statuses}")
    return wrong


def by_a_crowd(clients: list[OddClient], port: int) -> list[str]:
    """What comes of several of each at once."""
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda client: (client, client.attack(port, 6 * DEADLINE_S)), clients * 8))
    return [
        f"{one.name}, in a crowd: {end} {statuses}" for one, (end, statuses) in found if not one.is_right(end, statuses)
    ]


def left_behind(process: subprocess.Popen[bytes], port: int, before: tuple[int, float]) -> list[str]:
    """What the service holds that it should not, after a while."""
    time.sleep(DEADLINE_S + 3)
    told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    gauges = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in told.splitlines() if line[0] != "#"}
    wrong = [
        f"{name} is {value:g}"
        for name, value in gauges.items()
        if name.startswith(("lightning_tl_queue_samples", "lightning_tl_reading_requests")) and value
    ]
    wrong += [f"{name} was answered" for name, value in gauges.items() if 'status="500"' in name and value]
    files, megabytes = held(process)
    print(f"  open files {before[0]} before, {files} after; {before[1]:.0f} MB before, {megabytes:.0f} MB after")
    if files > before[0] + 5:
        wrong.append(f"{files - before[0]} files are still open")
    if megabytes > before[1] + GROWN_MB:
        wrong.append(f"it holds {megabytes - before[1]:.0f} MB more")
    return wrong


def held(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Open files, and megabytes of memory."""
    found = psutil.Process(process.pid)
    return found.num_fds(), found.memory_info().rss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=200, help="of each path, by Schemathesis; 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drip_s", type=float, default=60.0, help="how long slow clients are slow")
    given = parser.parse_args()
    path, kind, body = sample(Manifest.read(given.bundle))
    port, wrong = free_port(), []
    process = started(given.bundle, port)
    try:
        httpx.post(f"http://127.0.0.1:{port}{path}", content=body, headers={"content-type": kind}).raise_for_status()
        if given.examples:
            wrong += by_description(port, given.examples, given.seed)
        clients = odd_clients(path, kind, body, given.drip_s)
        wrong += by_odd_clients(clients, port) + by_a_crowd(clients, port)
        before = held(process)
        wrong += by_a_crowd(clients, port)
        wrong += left_behind(process, port, before)
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)
        wrong += [f"it ended with {status}"] if status else []
    finally:
        process.kill()
    print("\n".join(["nothing is wrong"] if not wrong else [f"wrong: {one}" for one in wrong]))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
