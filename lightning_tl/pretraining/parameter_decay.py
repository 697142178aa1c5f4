"""Which parameters weight decay is applied to."""

from __future__ import annotations

from typing import Any

from torch import nn


def weight_decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups of one layer group `all`: matrices, which decay, and biases and norms, which do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay, "name": "all", "group": "all"},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0, "name": "all/no_decay", "group": "all"},
    ]
