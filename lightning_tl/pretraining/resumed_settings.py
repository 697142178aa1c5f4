"""What a resumed run must have in common with the run that it goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_resumed(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings than those of the checkpoint.

    Args:
        saved: settings by name, as the checkpoint has them.
        now: those of this run; names that only one of them has are left out.

    Raises:
        ValueError: naming each that differs, with both values.
    """
    others = [name for name in saved if name in now and saved[name] != now[name]]
    if others:
        told = ", ".join(f"{name} {saved[name]} and now {now[name]}" for name in others)
        raise ValueError(
            f"the checkpoint was made with other settings: {told}; resume with the same, or start a new run"
        )
