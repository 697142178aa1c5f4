"""Layers that multiply by one matrix."""

from __future__ import annotations

from torch import nn


def is_linear(layer: nn.Module) -> bool:
    """Whether it is a linear layer, or GPT-2's `Conv1D`: one whose matrix is stored the other way round.

    A router is none, though it may be built from one: it gives the experts' numbers beside their weights. Nor is a
    layer whose matrix is a constant, since no input's features depend on it (BERT's pooler).
    """
    if "Router" in type(layer).__name__ or any(name == "weight" for name, _ in layer.named_buffers(recurse=False)):
        return False
    return isinstance(layer, nn.Linear) or (type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"))


def width_out(layer: nn.Module) -> int:
    """Values per token that a linear layer gives."""
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.nf)  # type: ignore[arg-type]


def own_parameters(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a layer itself, by name; not those of its parts."""
    return dict(layer.named_parameters(recurse=False))
