"""Backbones that `torch.compile` has wrapped."""

from __future__ import annotations

from typing import Any

from lightning_tl.backbones.base import Backbone
from lightning_tl.compat.for_torch import compile_as, inside_compiled


def compiled_in_place(value: Any) -> Any:
    """For a backbone that `torch.compile` has wrapped, the backbone itself, compiled; anything else as it is."""
    inner = inside_compiled(value)
    if not isinstance(inner, Backbone):
        return value
    compile_as(inner, value)
    return inner
