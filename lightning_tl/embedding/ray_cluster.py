"""The Ray cluster of a command: whether Ray is there, which cluster, and what its nodes must see."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path

_ANSWERS_S = 10.0
_STORE_BYTES = 128 * 2**20  # of `local`: what travels are numbers, names and messages
LOCAL = "local"


def check_ray_is_installed() -> None:
    """Say how to install Ray.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError('--ray needs Ray: python -m pip install "lightning-tl[ray]"')


def connect(address: str) -> bool:
    """Connect this process to a cluster, unless it is connected.

    Args:
        address: `host:port` or `ray://host:port`; `auto` for the one that this machine belongs to; `local` for one of
            this machine alone, which ends with the process or with `ray.shutdown()`.

    Returns:
        whether it was not connected before.

    Raises:
        ValueError: no cluster answers there.
    """
    import ray

    if ray.is_initialized():
        return False
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address not in ("auto", LOCAL):
        try:
            socket.create_connection((host, int(port)), _ANSWERS_S).close()  # Ray itself would wait for minutes
        except (OSError, ValueError, OverflowError) as error:
            raise _silent(address, str(error)) from None
    own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError) as error:
        raise _silent(address, next(iter(str(error).strip().splitlines()), type(error).__name__)) from None
    return True


def check_node_sees(places: Iterable[str | Path]) -> None:
    """On a node: say what is not there.

    Args:
        places: files and folders that every node must see.

    Raises:
        ValueError: this node does not.
    """
    for place in places:
        if not os.path.exists(place):
            raise ValueError(
                f"the node {socket.gethostname()} does not see {place}: what the command reads and writes and the "
                "folder in which it was started must be on a file system that all nodes see"
            )


def _silent(address: str, why: str) -> ValueError:
    return ValueError(f"no Ray cluster answers at {address} ({why}); start one with: ray start --head")
