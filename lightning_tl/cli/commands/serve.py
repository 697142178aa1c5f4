"""`serve`: models over HTTP, in a process that imports no torch."""

from __future__ import annotations

import functools
import ipaddress
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lightning_tl.cli.commands.bundle_of_run import bundle_of_run
from lightning_tl.cli.commands.serve_options import ADMIN_TOKEN, TOKEN, ServeOptions
from lightning_tl.cli.commands.store_options import StoreOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.run_folder import check_run

try:
    from lightning_tl.serving.models.shared_sessions import SharedSessions
    from lightning_tl.serving.opening import open_bundle
    from lightning_tl.serving.service.application import Service
    from lightning_tl.serving.service.metrics import ServiceMetrics
    from lightning_tl.serving.service.model_endpoints import check_name
    from lightning_tl.serving.service.served_model import Model, ServedModel
    from lightning_tl.serving.service.server import open_socket, run_service
    from lightning_tl.serving.service.settings import ServiceSettings
except ImportError as error:
    if (error.name or "").startswith("lightning_tl"):
        raise
    raise UserError(f"serve needs the extra 'serve': pip install 'lightning-tl[serve]' ({error})") from error


def run_serve(options: ServeOptions) -> None:
    """Answer until a signal ends it.

    Args:
        options: from `read_serve_options`.

    Raises:
        ValueError, OSError: a bundle cannot be opened, a run cannot become one, or the port cannot be had.
    """
    settings = ServiceSettings(**options.settings)
    for name in (*options.runs, *options.bundles):
        check_name(name)
    for folder in options.runs.values():
        check_run(folder)
    token, admin_token = _secret(TOKEN), _secret(ADMIN_TOKEN)
    listening = open_socket(options.host, options.port)
    metrics = ServiceMetrics()
    sessions = SharedSessions()
    openers: dict[str, Callable[[], Model]] = {}
    for name, folder in options.runs.items():
        openers[name] = functools.partial(_open_run, folder, options.threads, options.store, sessions)
    for name, folder in options.bundles.items():
        openers[name] = functools.partial(_open_bundle, folder, options.threads, options.store, sessions)
    try:
        models = [ServedModel(name, opener, settings, metrics.batched) for name, opener in openers.items()]
    except BaseException:
        listening.close()
        raise
    service = Service(models, settings, metrics, token, admin_token)
    address = listening.getsockname()
    if not _is_own(address[0]) and token is None:
        print(
            f"warning: whoever reaches {options.host} may ask these models: set {TOKEN}, or listen at 127.0.0.1",
            file=sys.stderr,
        )
    first: dict[str, str] = {}  # which model's backbone others share
    for model in models:
        facts = model.now.facts
        base = facts.card.get("shared_base")
        shared = f", over the backbone of {first[base]}" if base in first else ""
        if base is not None:
            first.setdefault(str(base), model.name)
        print(f"model    {model.name}, of {facts.kind}, version {facts.version[:12]}{shared}")
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    alone = ", which this machine alone reaches" if _is_own(address[0]) else ""
    print(f"serving  http://{host}:{address[1]}{alone}; Ctrl-C ends it", flush=True)
    run_service(service, listening)


def _open_bundle(
    folder: Path, threads: int, store: StoreOptions | None, sessions: SharedSessions | None = None
) -> Model:
    if store is None:
        return open_bundle(folder, threads, sessions=sessions)
    from lightning_tl.cli.commands.opened_store import ANSWERING_S, opened_store  # here, as it imports what stores need

    return open_bundle(folder, threads, functools.partial(opened_store, store, timeout_s=ANSWERING_S))


def _open_run(run: Path, threads: int, store: StoreOptions | None, sessions: SharedSessions | None = None) -> Model:
    """By a bundle of the run, or where it can have none by torch, in this process."""
    try:
        return _open_bundle(bundle_of_run(run, _said), threads, store, sessions)
    except UserError as error:
        if store is not None:
            raise
        why = str(error)
    from lightning_tl.cli.commands.torch_model import torch_model  # torch comes into this process here alone

    model = torch_model(run, threads, why)
    _said(f"torch    {why}: torch answers in its place, in this process, which takes more memory and time")
    return model


def _said(line: str) -> None:
    print(line, flush=True)


def _secret(name: str) -> str | None:
    """A token from the environment.

    Raises:
        UserError: it is there and empty, which would let everybody in where nobody meant it.
    """
    value = os.environ.get(name)
    if value is not None and not value.strip():
        raise UserError(f"{name} is set and empty: give it a value, or unset it to ask for no token")
    return value


def _is_own(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
