"""Backbones that `torch.compile` has wrapped."""

from __future__ import annotations

from typing import Any

from lightning_tl.backbones.base import Backbone


def compiled_in_place(value: Any) -> Any:
    """For a backbone that `torch.compile` has wrapped, the backbone itself, compiled; anything else as it is."""
    inner = getattr(value, "_orig_mod", None)
    if not isinstance(inner, Backbone):
        return value
    inner._compiled_call_impl = value.dynamo_ctx(inner._call_impl)  # as `nn.Module.compile` does
    return inner
