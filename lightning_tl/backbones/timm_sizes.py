"""How timm builds a model that reads images of any size."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Position embeddings that are interpolated for each image; masks of windows that are made for each image.
_OPTIONS = {"dynamic_img_size": True, "strict_img_size": False}


def any_size_option(model: nn.Module) -> dict[str, bool]:
    """The argument of `timm.create_model` by which such a model reads any size; empty where there is none to give."""
    known = {name for kind in type(model).__mro__ for name in inspect.signature(kind).parameters}
    return {name: value for name, value in _OPTIONS.items() if name in known}


def with_weights_of(model: nn.Module, build: Callable[[], Any]) -> Any:
    """The model that `build` gives, with the weights and in the mode of `model`."""
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        built = build()
        built.load_state_dict(model.state_dict())
        return built.train(model.training)
