"""One run of a vision model, to see what it gives and which of its weights take part."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.graph_leaves import reached_leaves


@dataclass(frozen=True)
class Trial:
    """What a run of a model showed.

    Args:
        feature_dim: length of the features.
        unused: names of the parameters that would get no gradient.
        called: names of the modules in the order of their calls.
    """

    feature_dim: int
    unused: tuple[str, ...]
    called: tuple[str, ...]


def trial(model: nn.Module, features: Callable[[Any, Tensor], Tensor], shape: tuple[int, int, int, int]) -> Trial:
    """Run a model on an image, in evaluation mode.

    It is run with its numbers, not on the meta device: BEiT keeps tensors of a first run for all later ones.

    Args:
        model: an encoder of transformers.
        features: of model and images, [batch, feature_dim].
        shape: of the images.
    """
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    called: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, module in model.named_modules()
    ]
    model.eval()
    try:
        with torch.enable_grad():
            found = features(model, torch.zeros(shape, device=device))
            reached = reached_leaves(found.sum())
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    unused = [name for name, parameter in model.named_parameters() if id(parameter) not in reached]
    return Trial(found.shape[1], tuple(unused), tuple(dict.fromkeys(called)))


def make_constant(model: nn.Module, names: Collection[str]) -> None:
    """Turn parameters into buffers of the same name, in place."""
    for name in names:
        parent, _, own = name.rpartition(".")
        module = model.get_submodule(parent)
        value = getattr(module, own)
        if value is not None:
            delattr(module, own)
            module.register_buffer(own, value.detach())
