"""The service's process: its socket, its signals and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.patient_protocol import PatientProtocol

_GRACE_S = 0.3
"""How long requests that were on their way when it was told to end are still taken on open connections."""

_LOG = logging.getLogger("lightning_tl.serving")


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: name or address.
        port: 0 for any that is free.

    Raises:
        OSError: the port is in use or not to be had, or there is no such host; the text says what to do.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio sends small packets at once only where the protocol is named: without it an answer takes 40 ms more
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
        return listening
    except socket.gaierror as error:
        raise OSError(
            f"there is no host '{host}' to listen at ({error.strerror}): give --host an address of this machine"
        ) from None
    except PermissionError:
        raise OSError(f"port {port} may not be opened: choose one from 1024 on with --port") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"port {port} of {host} is in use: choose another with --port, or 0 for any") from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise OSError(f"{host} is no address of this machine: give another with --host") from None
        raise


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run_service(service: Service, listening: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT, then answer what was taken, and return. A second signal ends the process at once.

    SIGHUP reloads all models.

    Args:
        service: what answers.
        listening: from `open_socket`.
    """
    config = config_of(service)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:  # uvloop, where it is installed
        runner.run(_serve(service, _Server(config), listening))
    service.close()


def config_of(service: Service) -> uvicorn.Config:
    """How uvicorn speaks for a service: without websockets, and with patience of as long as its deadline."""
    config = uvicorn.Config(service, lifespan="off", log_config=None, access_log=False, log_level="warning", ws="none")
    config.load()
    inner, limit_s = config.http_protocol_class, service.settings.deadline_s

    def protocol(*given: object, **named: object) -> PatientProtocol:
        return PatientProtocol(inner(*given, **named), limit_s)

    config.http_protocol_class = protocol  # type: ignore[assignment]
    return config


async def _serve(service: Service, server: _Server, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[object]] = set()

    def later(task: asyncio.Task[object]) -> None:
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def end(number: int) -> None:
        if service.gate.draining:
            print("ended at once, by a second signal", file=sys.stderr, flush=True)
            os._exit(128 + number)
        service.gate.draining = True
        _LOG.warning(
            "%s: no more connections are taken; %d requests are being answered; a second signal ends at once",
            signal.Signals(number).name,
            service.gate.requests,
        )
        later(loop.create_task(_end(server)))

    def reload() -> None:
        later(loop.create_task(service.administration.reload_models(list(service.models))))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await server.serve(sockets=[listening])


async def _end(server: _Server) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    for listener in server.servers:
        listener.close()
    await asyncio.sleep(_GRACE_S)
    server.should_exit = True
