"""How the user called this program, for commands that are printed to be pasted."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

INSTALLED = "lightning-tl"


def program() -> str:
    """The words before the first argument: `lightning-tl`, `python scripts/fit.py` or `python -m lightning_tl`.

    The installed command stands for everything that is no Python file, such as a test runner that calls `main`.
    """
    script = sys.argv[0] if sys.argv else ""
    path = Path(script)
    if path.name == "__main__.py" and path.parent.name == "lightning_tl":
        return f"{_python()} -m lightning_tl"
    if path.suffix == ".py" and path.name != "__main__.py":
        return f"{_python()} {shlex.quote(_pasteable(path))}"
    return INSTALLED


def _python() -> str:
    """The interpreter as it was typed, so that it works where its environment is not activated."""
    typed = sys.orig_argv[0] if sys.orig_argv else ""
    return shlex.quote(typed) if Path(typed).name.startswith("python") else "python"


def _pasteable(path: Path) -> str:
    """`path` as typed if it leads there from this folder, else its name."""
    return os.fspath(path) if path.is_file() else os.path.basename(path)
