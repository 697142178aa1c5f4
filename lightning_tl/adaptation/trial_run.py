"""One run of a backbone, to see what it calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.batches import moved


@torch.no_grad()
def trial_run(backbone: Backbone) -> Tensor:
    """Features [2, feature_dim] of two made-up samples, in evaluation mode; leaves modes and random state alone."""
    with torch.device("cpu"):  # a Trainer builds modules with its accelerator as the default device
        inputs: Any = backbone.example_inputs(2)
    weight = next(backbone.parameters())
    inputs = moved(inputs, weight.device)
    if isinstance(inputs, Tensor) and inputs.is_floating_point():
        inputs = inputs.to(weight.dtype)
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        features: Tensor = backbone(inputs)
    finally:
        for module, training in modes:
            module.training = training
    return features


def check_reached(backbone: Backbone, layers: Mapping[str, nn.Module], what: str) -> None:
    """See that every layer is called: a fused block reads a layer's weights instead, and what is put there is lost.

    Args:
        layers: by name.
        what: was put there, for the message.

    Raises:
        ValueError: naming the layers that are not called.
    """
    reached: set[str] = set()
    hooks = [layer.register_forward_hook(lambda *_, name=name: reached.add(name)) for name, layer in layers.items()]
    try:
        trial_run(backbone)
    finally:
        for hook in hooks:
            hook.remove()
    if lost := sorted(layers.keys() - reached):
        shown = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        raise ValueError(
            f"{type(getattr(backbone, 'model', backbone)).__name__} computes {shown} without calling the layer, so "
            f"{what} there would learn nothing; name other layers, or turn its fused blocks off"
        )
