"""`give_maps`: from now on a backbone is read as maps of features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.one_run import make_constant, trial
from lightning_tl.contracts.batches import ImageSpec


def give_maps(backbone: Backbone) -> None:
    """Let `Backbone.read` give the feature maps in place of the pooled vector; in place, and once.

    Weights that only the pooled vector reads (a final norm, a pooler) become constants: no gradient would reach them,
    which DDP takes for a fault. Call it before an adaptation changes the backbone.

    Args:
        backbone: run once on its own `example_inputs`.

    Raises:
        ValueError: it has no maps.
    """
    if backbone.map_dims:
        return
    if type(backbone).feature_maps is Backbone.feature_maps:
        raise ValueError(_none(backbone, "its class does not override feature_maps"))
    spec = backbone.input_spec
    if not isinstance(spec, ImageSpec):
        raise ValueError(_none(backbone, "it reads no images"))
    side = spec.image_size
    dims: list[int] = []
    strides: list[float] = []

    def vector(_: Any, images: Tensor) -> Tensor:
        maps = backbone.feature_maps(images)
        dims[:] = [found.shape[1] for found in maps]
        strides[:] = [side / found.shape[2] for found in maps]
        return torch.cat([found.mean((2, 3)) for found in maps], 1)

    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        try:
            seen = trial(backbone, vector, (1, spec.channels, side, side))
        except (ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            raise ValueError(_none(backbone, error)) from None
    make_constant(backbone, seen.unused)
    backbone.map_dims, backbone.map_strides = tuple(dims), tuple(strides)


def _none(backbone: Backbone, why: object) -> str:
    name = getattr(backbone, "arguments", {}).get("pretrained", "")
    reason = (str(why).strip().splitlines() or [type(why).__name__])[0].rstrip(".")
    return (
        f"{type(backbone).__name__} {name} has no feature maps, which labels of pixels need ({reason}); use a model "
        "with patches or stages, such as ViT, DINOv2, Swin, ConvNeXt or ResNet"
    )
