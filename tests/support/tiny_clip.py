"""Tiny random CLIP and SigLIP models, saved with tokenizer and image processor as the hub has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_text import VOCABULARY, save_tokenizer

_SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT: dict[str, Any] = {**_SIZE, "vocab_size": VOCABULARY, "max_position_embeddings": 12, "pad_token_id": 0}
_TEXT |= {"bos_token_id": 2, "eos_token_id": 3}
_VISION = {**_SIZE, "image_size": 8, "patch_size": 4}
CONFIGS: dict[str, Any] = {
    # the whole model's projection_dim counts, whatever the towers' configurations say
    "clip": transformers.CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=12),
    "siglip": transformers.SiglipConfig(text_config={**_TEXT, "projection_size": 16}, vision_config=_VISION),
}
MODELS: dict[str, Any] = {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def save_clip(family: str, folder: Path) -> Path:
    """A folder with model, tokenizer and image processor, with random weights that no zeros hide."""
    torch.manual_seed(0)
    model = MODELS[family](CONFIGS[family])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.logit_scale.fill_(2.5)
    model.save_pretrained(folder / family)
    save_tokenizer(folder / family)
    square = {"height": 8, "width": 8}
    processor = transformers.CLIPImageProcessor(size=square, crop_size=square, image_mean=MEAN, image_std=STD)
    processor.save_pretrained(folder / family)
    return folder / family
