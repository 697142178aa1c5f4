"""The configuration of a vision encoder, the input that its weights expect, and the configuration for another."""

from __future__ import annotations

import copy
import inspect
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_tl.backbones.hugging_face.hugging_face_loading import read_config
from lightning_tl.backbones.hugging_face.images.vision_family import VisionFamily, own_classifier, own_encoder
from lightning_tl.backbones.opening.input_adaptation import STATISTICS, check_image_size, read_statistics
from lightning_tl.backbones.opening.preprocessor import read_preparation
from lightning_tl.contracts.batches import ImageSpec

_USUAL_SIZE = 224  # pixels, where neither config nor preparation says


def vision_config(folder: Path, name: str) -> Any:
    """The configuration of a vision encoder.

    A masked autoencoder's becomes that of the plain ViT inside it, one of images and texts that of its image tower.

    Raises:
        ValueError: as `read_config`, or the model does not read images.
    """
    import transformers

    config = read_config(folder, name)
    if config.model_type == "vit_mae":
        shared = set(transformers.ViTConfig().to_dict()) - {"model_type", "architectures", "transformers_version"}
        return transformers.ViTConfig(**{key: value for key, value in config.to_dict().items() if key in shared})
    kind, config = config.model_type, getattr(config, "vision_config", None) or config
    models = [model for model in (own_classifier(config), own_encoder(config)) if model is not None]
    if not models and config.model_type != kind:
        raise ValueError(
            f"{name} is a '{kind}' model of images and texts, and transformers opens no '{config.model_type}' alone; "
            "take the weights of a CLIP or SigLIP model"
        )
    if not any("pixel_values" in inspect.signature(model.forward).parameters for model in models):
        raise ValueError(f"{name} is a '{kind}' model, which does not read images as pixels")
    return config


def known_input(config: Any, folder: Path) -> ImageSpec:
    """The input that the saved weights expect.

    The size that the preparation states is taken where the config states none, or one that no weight depends on:
    ConvNeXt's says 224 whatever the weights were trained on.

    Raises:
        ValueError: the images are not square.
    """
    said = read_preparation(folder).image_size
    own = getattr(config, "image_size", None)
    if own is None and said is None and hasattr(config, "num_patches"):  # SigLIP 2: images of any form
        own = math.isqrt(config.num_patches) * int(config.patch_size)
    if own is not None and not isinstance(own, int):
        if len(set(own)) > 1:
            raise ValueError(f"only square images are supported, the config's image_size is {list(own)}")
        own = int(own[0])
    size = own or said or _USUAL_SIZE
    if own and said and own != said and not _depends_on_size(config, own, said):
        size = said
    channels = int(getattr(config, "num_channels", 3))
    return ImageSpec(size, channels, *read_statistics(folder, channels, STATISTICS.get(config.model_type)))


def config_for(config: Any, known: ImageSpec, image_size: int, channels: int) -> Any:
    """The configuration of the same encoder for another input.

    Raises:
        ValueError: the family reads no other number of channels, or its patches do not tile such an image.
    """
    adapted = copy.deepcopy(config)
    if channels != known.channels and not hasattr(config, "num_channels"):
        raise ValueError(
            f"a '{config.model_type}' model reads {known.channels} channels and can be built for no other number, got "
            f"{channels}"
        )
    several = isinstance(getattr(config, "image_size", None), (tuple, list))
    adapted.image_size = [image_size, image_size] if several else image_size
    if hasattr(config, "num_channels"):
        adapted.num_channels = channels
    if image_size != known.image_size:
        check_image_size(image_size, _patch_size(config))
    return adapted


def _patch_size(config: Any) -> int:
    """The side of the patches that an image is cut into without overlap; 1 for what convolves."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = VisionFamily(config).fresh()
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        patch = getattr(config, "patch_size", 1)
        return int(patch) if isinstance(patch, int) else 1
    return int(first.stride[0]) if first.stride == first.kernel_size else 1


def _depends_on_size(config: Any, one: int, other: int) -> bool:
    shapes = []
    for size in (one, other):
        adapted = copy.deepcopy(config)
        adapted.image_size = [size, size] if isinstance(config.image_size, (tuple, list)) else size
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                model = VisionFamily(adapted).fresh()
        except (ValueError, RuntimeError):
            return True
        shapes.append({name: value.shape for name, value in model.state_dict().items()})
    return shapes[0] != shapes[1]
