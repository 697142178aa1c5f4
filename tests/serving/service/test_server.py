"""The service as a process: signals, reloads, long bodies, and ports that are not to be had."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from served_models import ColourModel, png, running, service_of

from lightning_tl.serving.service.server import open_socket

PROGRAM = Path(__file__).parents[2] / "support" / "serving_program.py"
IMAGE = {"content-type": "image/png"}


@contextmanager
def serving(version: Path, pause_s: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    command = [sys.executable, str(PROGRAM), str(version), str(pause_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        while True:
            try:
                httpx.get(f"{address}/ready", timeout=10)
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield process, address
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def version(tmp_path: Path) -> Path:
    file = tmp_path / "version"
    file.write_text("v1")
    return file


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_taken_is_answered_before_the_end(version: Path, number: signal.Signals) -> None:
    """Of requests that slowly wait their turn none is lost, and connections that are open are told to close."""
    statuses: list[int | str] = []

    with serving(version, pause_s=0.4) as (process, address):

        def ask() -> None:
            with httpx.Client(timeout=20) as client:
                try:
                    answer = client.post(f"{address}/classify", content=png(), headers=IMAGE)
                    statuses.append(answer.status_code)
                    if answer.headers.get("connection") != "close":
                        statuses.append("kept open")
                except httpx.TransportError as error:
                    statuses.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        while httpx.get(f"{address}/metrics").text.find('queue_samples{model="m"} 0.0') > 0:
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(number)
        for thread in threads:
            thread.join()
        _, said = process.communicate(timeout=10)
        assert process.returncode == 0, said
    answered = [one for one in statuses if one == 200]
    refused = [one for one in statuses if "ConnectError" in str(one)]
    assert len(answered) + len(refused) == 40 and len(answered) > 20, statuses
    assert f"{number.name}: no more connections" in said and "Traceback" not in said


def test_a_second_signal_ends_at_once(version: Path) -> None:
    with serving(version, pause_s=1.5) as (process, address):
        waiting = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
        body = png()
        waiting.sendall(b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n")
        waiting.sendall(b"content-length: %d\r\n\r\n%s" % (len(body), body))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        _, said = process.communicate(timeout=10)
        assert process.returncode == 128 + signal.SIGTERM and time.monotonic() - started < 0.7
        assert "ended at once" in said
        waiting.close()


def test_a_signal_reloads_and_a_broken_model_leaves_the_old_one(version: Path) -> None:
    with serving(version) as (process, address), httpx.Client(base_url=address) as client:

        def named() -> str:
            return str(client.post("/classify", content=png(), headers=IMAGE).json()["version"])

        def wait_for(result: str) -> None:
            ends = time.monotonic() + 10
            while f'result="{result}"' not in client.get("/metrics").text:
                assert time.monotonic() < ends
                time.sleep(0.01)

        assert named() == "v1"
        version.write_text("broken")
        process.send_signal(signal.SIGHUP)
        wait_for("refused")
        assert named() == "v1"
        version.write_text("v2")
        process.send_signal(signal.SIGHUP)
        wait_for("done")
        assert named() == "v2"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert "m goes on as it is: the manifest is damaged" in said and "m answers as version v2, before as v1" in said


def test_a_body_of_100_mb_is_refused_and_not_held(version: Path) -> None:
    with serving(version) as (process, address):
        before = psutil.Process(process.pid).memory_info().rss

        def parts() -> Iterator[bytes]:
            for _ in range(100):
                yield bytes(1_000_000)

        for content in (parts(), bytes(100_000_000)):
            answer = httpx.post(f"{address}/classify", content=content, headers=IMAGE, timeout=30)
            assert answer.status_code == 413 and "10 MB" in answer.json()["error"]
        assert psutil.Process(process.pid).memory_info().rss - before < 60e6
        assert httpx.post(f"{address}/classify", content=png(), headers=IMAGE).status_code == 200


def test_small_answers_are_sent_at_once() -> None:
    """Head and body are two writes: without TCP_NODELAY the second waits for the client's delayed acknowledgement."""
    with running(service_of(("m", ColourModel()))) as address, httpx.Client(base_url=address) as client:
        seconds = []
        for _ in range(20):
            started = time.monotonic()
            assert client.post("/classify", content=png(), headers=IMAGE).status_code == 200
            seconds.append(time.monotonic() - started)
    assert sorted(seconds)[10] < 0.03


def test_sockets_that_are_not_to_be_had() -> None:
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is in use: choose another with --port"):
            open_socket("127.0.0.1", port)
    with pytest.raises(OSError, match=r"192\.0\.2\.1 is no address of this machine"):
        open_socket("192.0.2.1", 0)
    with pytest.raises(OSError, match=r"no host 'no\.such\.host\.invalid'"):
        open_socket("no.such.host.invalid", 0)
