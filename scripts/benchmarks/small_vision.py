"""Every family of `AutoModelForImageClassification` as a small model with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

_WIDE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_PATCHES: dict[str, Any] = {"image_size": 32, "patch_size": 8}
_DINO = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
_SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
_FOUR = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_TEXT = {**_WIDE, "vocab_size": 50, "max_position_embeddings": 8}
_PAIR = {"vision_config": {**_WIDE, **_PATCHES}, "text_config": _TEXT}
# What makes each family's own configuration small.
SMALL: dict[str, dict[str, Any]] = {
    "beit": {**_WIDE, **_PATCHES, "use_relative_position_bias": True, "use_mask_token": True},
    "bit": {**_FOUR, "embedding_size": 8, "num_groups": 4, "image_size": 32},
    "clip": _PAIR,
    "convnext": {**_FOUR, "image_size": 32},
    "convnextv2": {**_FOUR, "image_size": 32},
    "cvt": {"embed_dim": [8, 16, 16], "num_heads": [1, 2, 2], "depth": [1, 2, 3], "image_size": 32},
    "data2vec-vision": {**_WIDE, **_PATCHES},
    "deit": {**_WIDE, **_PATCHES},
    "dinov2": _DINO,
    "dinov2_with_registers": _DINO,
    "donut-swin": _SWIN,
    "efficientnet": {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
    "focalnet": {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "focal_levels": [2, 2], "focal_windows": [3, 3]},
    "hgnet_v2": {
        "stem_channels": [3, 8, 8],
        "stage_in_channels": [8, 16, 16, 16],
        "stage_mid_channels": [8, 8, 8, 8],
        "stage_out_channels": [16, 16, 16, 16],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
        "hidden_sizes": [16, 16, 16, 16],
        "depths": [1, 1, 1, 1],
        "image_size": 64,
    },
    "hiera": {"embed_dim": 8, "image_size": [64, 64], "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    "ijepa": {**_WIDE, **_PATCHES},
    "imagegpt": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "levit": {
        "image_size": 64,
        "hidden_sizes": [16, 24, 32],
        "num_attention_heads": [1, 2, 2],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
    },
    "metaclip_2": _PAIR,
    "mobilenet_v1": {"image_size": 32, "depth_multiplier": 0.25},
    "mobilenet_v2": {"image_size": 32, "depth_multiplier": 0.35},
    "mobilevit": {
        "image_size": 64,
        "hidden_sizes": [16, 16, 16],
        "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 32],
        "num_attention_heads": 2,
    },
    "mobilevitv2": {"image_size": 64, "width_multiplier": 0.25, "base_attn_unit_dims": [16, 16, 16]},
    "perceiver": {
        "num_latents": 8,
        "d_latents": 32,
        "d_model": 32,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1,
        "image_size": 224,
    },
    "poolformer": {**_FOUR, "image_size": 32},
    "pp_lcnet": {"scale": 0.25, "class_expand": 64, "image_size": 64},
    "pvt": {
        "image_size": 32,
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "mlp_ratios": [2, 2, 2, 2],
    },
    "pvt_v2": {
        "image_size": 32,
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "mlp_ratios": [2, 2, 2, 2],
    },
    "regnet": {"embedding_size": 8, **_FOUR, "groups_width": 8, "image_size": 32},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "basic", "image_size": 32},
    "segformer": {
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "decoder_hidden_size": 16,
        "image_size": 64,
    },
    "siglip": _PAIR,
    "siglip2": {"vision_config": {**_WIDE, "num_patches": 16, "patch_size": 8}, "text_config": _TEXT},
    "swiftformer": {"image_size": 64, "embed_dims": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    "swin": _SWIN,
    "swinv2": _SWIN,
    "textnet": {
        "image_size": [64, 64],
        "stem_out_channels": 8,
        "conv_layer_kernel_sizes": [[[3, 3]], [[3, 3]], [[3, 3]], [[3, 3]]],
        "conv_layer_strides": [[1], [2], [2], [2]],
        "hidden_sizes": [8, 8, 16, 16, 16],
    },
    "timm_wrapper": {"architecture": "resnet18", "model_args": {"channels": (8, 8, 8, 16)}},
    "vit": {**_WIDE, **_PATCHES},
    "vit_msn": {**_WIDE, **_PATCHES},
}
# Of another kind than one image, or with weights that no setting makes small.
LEFT_OUT = {"shieldgemma2": "reads an image and a text together"}


def families() -> dict[str, list[str]]:
    """Names of the classifiers of every family, by its model_type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as NAMES

    return {family: [kinds] if isinstance(kinds, str) else list(kinds) for family, kinds in NAMES.items()}


def save_small(family: str, kind: str, folder: Path) -> Path:
    """A folder as `save_pretrained` of the whole classifier writes it, with random weights that no zeros hide.

    Args:
        kind: name of the classifier's class.

    Raises:
        ImportError: the family needs a library that is not installed.
    """
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(0)
    build: Any = CONFIG_MAPPING[family]
    config = build(**SMALL.get(family, {}), num_labels=5)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    size = SMALL.get(family, {}).get("image_size")
    if size is not None:  # which some families' configurations do not state
        side = size[0] if isinstance(size, list) else size
        settings = {"size": {"height": side, "width": side}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
