"""Finished runs, kept in a JSON Lines file so that an interrupted measurement goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def read_runs(path: Path) -> list[dict[str, Any]]:
    """All kept runs, in the order in which they ended."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kept_run(path: Path, key: Mapping[str, Any], run: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The kept result of the run that `key` describes, or that of running it now.

    Args:
        key: what tells the run from others, as JSON values.
        run: gives the result; called only where there is none.
    """
    for row in read_runs(path):
        if all(row.get(name) == value for name, value in key.items()):
            return row
    row = {**key, **run()}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row
