"""Which numbers a machine computes embeddings with."""

from __future__ import annotations

from collections.abc import Callable

import torch


def has_bf16(device: torch.device) -> str | None:
    """What of this device computes with bfloat16; None where that would only be emulated."""
    if device.type == "cuda":
        return "this GPU" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type != "cpu":
        return None
    found = [
        name
        for name, test in (("AMX", "_is_amx_tile_supported"), ("AVX-512 BF16", "_is_avx512_bf16_supported"))
        if _asked(getattr(torch.cpu, test, None))
    ]
    return f"{found[0]} of this CPU" if found else None


def _asked(test: Callable[[], bool] | None) -> bool:
    return test is not None and bool(test())


def resolve_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    """The precision to use, "32" or "bf16", and a line that says why.

    Args:
        wanted: "auto", "32" or "bf16".
        device: that computes.
    """
    support = has_bf16(device)
    if wanted == "32" or (wanted == "auto" and support is None):
        why = "as asked" if wanted == "32" else f"no bf16 on this {device.type.upper()}"
        return "32", f"precision 32 ({why})"
    return "bf16", f"precision bf16 by autocast ({support or 'as asked, though this machine only emulates it'})"
