"""The weights to which a phase returns."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BestWeights:
    """A copy, on the CPU, of what a phase can change of a module: trainable parameters and all buffers."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def keep(self, module: nn.Module) -> None:
        """Copy the weights as they are now."""
        frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
        state = module.state_dict()
        self.weights = {name: value.detach().cpu().clone() for name, value in state.items() if name not in frozen}

    @torch.no_grad()
    def restore(self, module: nn.Module) -> None:
        """Put the copy back, in place, and drop it; without a copy nothing changes."""
        state = module.state_dict()
        for name, value in self.weights.items():
            state[name].copy_(value)
        self.weights = {}
