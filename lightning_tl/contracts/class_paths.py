"""Classes by the paths under which files name them, which outlive the modules that hold them today."""

from __future__ import annotations

import importlib
import sys


def public_path(kind: type) -> str:
    """The shortest path of packages from which a class can be imported, such as `lightning_tl.strategies.FineTune`."""
    parts = kind.__module__.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), kind.__qualname__, None) is kind:
            return f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def class_of(path: str) -> type:
    """The class of a path that `public_path` gave, or the module of an earlier version: then its package has it.

    Raises:
        ValueError: there is none; a function is none either.
    """
    room, _, name = path.rpartition(".")
    while room and "__" not in room:  # importing a `__main__` would run it
        try:
            found = getattr(importlib.import_module(room), name, None)
        except ModuleNotFoundError:
            found = None
        if isinstance(found, type):
            return found
        room = room.rpartition(".")[0]
    raise ValueError(f"there is no class {path}; it was written by another version of its package")
