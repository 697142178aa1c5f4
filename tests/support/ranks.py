"""Two processes that train together, for tests of what they must agree on."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ports import free_port
from tiny_run import server

WORLD_SIZE = 2


def _process(function: Callable[..., Any], folder: Path, rank: int, port: int, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    addresses = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(WORLD_SIZE)}
    os.environ |= addresses | {"NODE_RANK": "0", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    try:
        result = function(*arguments)
    except BaseException:
        result = traceback.format_exc()
    torch.save(result, folder / f"rank-{rank}.pt")
    os._exit(0)


def on_two_ranks(function: Callable[..., Any], folder: Path, *arguments: Any, seconds: float = 180) -> list[Any]:
    """What `function(*arguments)` returns on each rank, or its traceback; the function is found by its name."""
    context, port = server(), free_port()
    processes = [context.Process(target=_process, args=(function, folder, r, port, arguments)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds)
        process.kill()
    results = [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(WORLD_SIZE)]
    assert not any(isinstance(result, str) for result in results), "\n".join(map(str, results))
    return results
