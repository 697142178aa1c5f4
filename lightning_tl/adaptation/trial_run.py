"""One run of a backbone, to see what it calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_tl.backbones.base import Backbone


@torch.no_grad()
def trial_run(backbone: Backbone) -> Tensor:
    """Features [2, feature_dim] of two made-up samples, in evaluation mode; leaves modes and random state alone."""
    with torch.device("cpu"):  # a Trainer builds modules with its accelerator as the default device
        inputs: Any = backbone.example_inputs(2)
    device = next(backbone.parameters()).device
    inputs = {k: v.to(device) for k, v in inputs.items()} if isinstance(inputs, dict) else inputs.to(device)
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        features: Tensor = backbone(inputs)
    finally:
        for module, training in modes:
            module.training = training
    return features
