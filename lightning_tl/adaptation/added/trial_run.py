"""One run of a backbone, to see what it calls and what would learn there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.graph_leaves import reached_leaves
from lightning_tl.contracts.batches import moved
from lightning_tl.contracts.feature_maps import FeatureMaps


def trial_run(backbone: Backbone, gradients: bool = False) -> Tensor:
    """Features [2, dim] of two made-up samples, in evaluation mode; leaves modes and random state alone.

    Where the backbone gives feature maps, the means of these side by side.

    Args:
        backbone: run on its own `example_inputs`.
        gradients: whether to keep the graph that leads to them.
    """
    with torch.inference_mode(False), torch.device("cpu"):  # a Trainer sets its accelerator as the default
        inputs: Any = backbone.example_inputs(2)
    weight = next(backbone.parameters())
    inputs = moved(inputs, weight.device)
    if isinstance(inputs, Tensor) and inputs.is_floating_point():
        inputs = inputs.to(weight.dtype)
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            found = backbone.read(inputs)
    finally:
        for module, training in modes:
            module.training = training
    if isinstance(found, FeatureMaps):
        return torch.cat([part.mean((2, 3)) for part in found.maps], 1)
    features: Tensor = found
    return features


def check_reached(backbone: Backbone, layers: Mapping[str, nn.Module], what: str) -> None:
    """See that what is put behind every layer would learn.

    A fused block reads a layer's weights and does not call it, and what is put there is lost. So is what a reversible
    block computes outside the graph of gradients.

    Args:
        backbone: holds the layers; it is run once.
        layers: by name.
        what: was put there, for the message.

    Raises:
        ValueError: naming the layers that are not called, that give no tensor, or that no gradient reaches.
    """
    kind = type(getattr(backbone, "model", backbone)).__name__
    added: dict[str, Tensor] = {}
    odd: list[str] = []
    hooks = [layer.register_forward_hook(_adding(name, added, odd)) for name, layer in layers.items()]
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:  # frozen, as they will be
            parameter.requires_grad_(False)
        features = trial_run(backbone, gradients=True)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for hook in hooks:
            hook.remove()
    if odd:
        raise ValueError(f"{kind}'s {_shown(odd)} gives no tensor, so {what} cannot change it; name other layers")
    if lost := sorted(layers.keys() - added.keys()):
        raise ValueError(
            f"{kind} computes {_shown(lost)} without calling the layer, so {what} there would learn nothing; name "
            "other layers, or turn its fused blocks off"
        )
    reached = reached_leaves(features)
    if lost := sorted(name for name, leaf in added.items() if id(leaf) not in reached):
        raise ValueError(
            f"no gradient reaches {_shown(lost)} of {kind} from its features, so {what} there would learn nothing; "
            "name other layers"
        )


def _adding(name: str, added: dict[str, Tensor], odd: list[str]) -> Callable[..., Any]:
    """A hook that adds a zero to a layer's output, whose gradient is that of whatever is put there."""

    def hook(layer: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            odd.append(name)
            return output
        leaf = added.setdefault(name, torch.zeros((), dtype=output.dtype, device=output.device, requires_grad=True))
        return output + leaf

    return hook


def _shown(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
