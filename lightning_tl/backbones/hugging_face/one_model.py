"""Two encoders of transformers as one model of images and texts, which gives the same vectors."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.hugging_face import hugging_face_loading as loading

# A pooler's tanh is the identity but for 1 part in 10^6 where features are this much smaller; a power of 2 is exact.
_SMALL = 2.0**-12
CLIP_IMAGES, CLIP_TEXTS = "clip_vision_model", "clip_text_model"


def pooling_read(texts: Any) -> str:
    """How a model of transformers around a text encoder pools: as `HuggingFaceText` calls it."""
    return "lasttoken" if texts.config.model_type == CLIP_TEXTS else "cls"


def joined(images: Any, texts: Any, projections: tuple[Tensor, Tensor], log_scale: float) -> Any:
    """A `CLIPModel` of the towers of one, else a `VisionTextDualEncoderModel`, on the CPU, in evaluation mode.

    Args:
        images: encoder of transformers.
        texts: likewise.
        projections: [dim, features] of images, and of texts.
        log_scale: logarithm of 1 / temperature.

    Raises:
        ValueError: there is no such model.
    """
    both = images.config.model_type, texts.config.model_type
    join = _clip if both == (CLIP_IMAGES, CLIP_TEXTS) else _dual
    whole, scales = join(images, texts, projections)
    layers = whole.visual_projection, whole.text_projection
    for layer, weight, scale in zip(layers, projections, scales, strict=True):
        if layer.weight.shape != weight.shape:
            raise ValueError(f"it reads other features of a {type(images).__name__} or {type(texts).__name__}")
        layer.weight.copy_(weight.detach().cpu() / scale)
    whole.logit_scale.fill_(log_scale)
    whole.config.logit_scale_init_value = log_scale
    return whole.eval()


def _clip(images: Any, texts: Any, projections: tuple[Tensor, Tensor]) -> tuple[Any, tuple[float, float]]:
    import transformers

    kind: Any = transformers.CLIPConfig
    parts = {"vision_config": images.config.to_dict(), "text_config": texts.config.to_dict()}
    with loading.quiet():
        whole: Any = transformers.CLIPModel(kind(**parts, projection_dim=len(projections[0])))
    for inside, encoder, prefix in (
        (whole.vision_model, images, "vision_model."),
        (whole.text_model, texts, "text_model."),
    ):
        state = encoder.state_dict()  # an older transformers keeps each tower one level deeper
        inside.load_state_dict({name.removeprefix(prefix): value.detach().cpu() for name, value in state.items()})
    return whole, (1.0, 1.0)


def _dual(images: Any, texts: Any, projections: tuple[Tensor, Tensor]) -> tuple[Any, tuple[float, float]]:
    import transformers

    vision, image_scale = _pooled(images)
    words, text_scale = _pooled(texts)
    with loading.quiet():
        kind: Any = transformers.VisionTextDualEncoderConfig
        config = kind.from_vision_text_configs(vision.config, words.config, projection_dim=len(projections[0]))
        try:
            whole: Any = transformers.VisionTextDualEncoderModel(config, vision, words)
        except AttributeError as error:
            raise ValueError(f"it cannot hold a {type(vision).__name__}: {error}") from None
    return whole, (image_scale, text_scale)


def _pooled(encoder: Any) -> tuple[Any, float]:
    """A copy of an encoder, on the CPU, whose pooler hands the first token on, and how much smaller it makes it.

    Raises:
        ValueError: it has no pooler.
    """
    import transformers

    config = copy.deepcopy(encoder.config)
    if hasattr(config, "pooler_act"):
        config.pooler_act = "linear"
    auto: Any = transformers.AutoModel
    with torch.random.fork_rng(devices=[]), loading.quiet():
        copied = auto.from_config(config)
    if type(copied) is not type(encoder):
        raise ValueError(f"it would open a {type(encoder).__name__} as a {type(copied).__name__}")
    state = {name: value.detach().cpu() for name, value in encoder.state_dict().items()}
    missing = [name for name in copied.load_state_dict(state, strict=False).missing_keys if "pooler" not in name]
    if missing:
        raise ValueError(f"it would open a {type(encoder).__name__} with other parts, such as {missing[0]}")
    dense = getattr(getattr(copied, "pooler", None), "dense", None)
    if not isinstance(dense, nn.Linear):
        return copied.eval(), 1.0  # what it gives is compared
    scale = 1.0 if hasattr(config, "pooler_act") else _SMALL
    nn.init.eye_(dense.weight).mul_(scale)
    nn.init.zeros_(dense.bias)
    return copied.eval(), scale
