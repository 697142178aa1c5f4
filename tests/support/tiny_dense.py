"""Tiny models of every family that has feature maps, and made-up batches of masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from lightning_tl.backbones import HuggingFaceVision, TimmBackbone, TorchvisionResNet
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import IGNORED

_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_SAVED: dict[str, tuple[Any, Any]] = {
    "vit": (transformers.ViTModel, transformers.ViTConfig(**_VIT, image_size=16, patch_size=4)),
    "dinov2": (
        transformers.Dinov2Model,
        transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7
        ),
    ),
    "dinov2_registers": (
        transformers.Dinov2WithRegistersModel,
        transformers.Dinov2WithRegistersConfig(**_VIT, image_size=28, patch_size=7),
    ),
    "swin": (
        transformers.SwinModel,
        transformers.SwinConfig(
            embed_dim=16, depths=[1, 2], num_heads=[2, 2], window_size=2, image_size=16, patch_size=2
        ),
    ),
    "convnext": (
        transformers.ConvNextModel,
        transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], num_stages=2, image_size=32),
    ),
}
_MADE: dict[str, Callable[[], Backbone]] = {
    "timm_vit": lambda: TimmBackbone("test_vit", image_size=32, weights=False),
    "timm_swin": lambda: TimmBackbone("swin_tiny_patch4_window7_224", image_size=56, weights=False),
    "timm_convnext": lambda: TimmBackbone("test_convnext", image_size=32, weights=False),
    "timm_efficientnet": lambda: TimmBackbone("test_efficientnet", image_size=32, weights=False),
    "torchvision": lambda: TorchvisionResNet("resnet18", weights=None, image_size=32),
}
FAMILIES = [*_SAVED, *(name for name in _MADE if name != "timm_swin")]
# the maps of each: dimensions and places a side, fine to coarse
MAPS = {
    "vit": ((16,), (4,)),
    "dinov2": ((16,), (4,)),
    "dinov2_registers": ((16,), (4,)),
    "swin": ((32,), (4,)),  # its finer stage has 2 pixels a place
    "convnext": ((8, 16), (8, 4)),
    "timm_vit": ((64,), (2,)),
    "timm_convnext": ((24, 32, 48, 64), (8, 4, 2, 1)),
    "timm_efficientnet": ((24, 32, 48, 64), (8, 4, 2, 1)),
    "torchvision": ((64, 128, 256, 512), (8, 4, 2, 1)),
}


def dense_backbone(family: str, folder: Path) -> Backbone:
    """A tiny model with weights that no zeros hide, always the same."""
    torch.manual_seed(0)
    if family in _MADE:
        return _MADE[family]()
    where = folder / family
    if not where.exists():
        kind, config = _SAVED[family]
        model = kind(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(where)
    return HuggingFaceVision(str(where))


def dense_batch(backbone: Backbone, classes: int = 3, batch: int = 2) -> dict[str, Tensor]:
    """Random images and masks; the corner of each mask is ignored."""
    generator = torch.Generator().manual_seed(1)
    spec: Any = backbone.input_spec
    side = spec.image_size
    target = torch.randint(0, classes, (batch, side, side), generator=generator)
    target[:, :2, :2] = IGNORED
    inputs = torch.randn(batch, spec.channels, side, side, generator=generator)
    return {"inputs": inputs, "target": target, "index": torch.arange(batch)}
