"""The encoder that pretraining trains, and its folder that Hugging Face and this project open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from transformers import ViTConfig, ViTModel

from lightning_tl.backbones.opening.preprocessor import write_preprocessor
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.conditions import ReadsInputs
from lightning_tl.pretraining.provenance import write_provenance


def vit_config(image_size: int, patch_size: int, channels: int, hidden_size: int, layers: int, heads: int) -> ViTConfig:
    """Configuration of a ViT encoder whose feed-forward layers are four times as wide as the rest.

    Raises:
        ValueError: when a number is below 1, the image is no whole number of patches, or the width of heads.
    """
    numbers = {"image_size": image_size, "patch_size": patch_size, "channels": channels, "hidden_size": hidden_size}
    for name, value in (numbers | {"layers": layers, "heads": heads}).items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name, value, divisor in (("image_size", image_size, patch_size), ("hidden_size", hidden_size, heads)):
        if value % divisor:
            raise ValueError(f"{name} must be divisible by {divisor}, got {value}")
    return ViTConfig(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        image_size=image_size,
        patch_size=patch_size,
        num_channels=channels,
    )


def write_encoder(folder: Path, encoder: ViTModel, trainer: pl.Trainer, objective: str) -> None:
    """Write config, safetensors, image statistics and provenance; `AutoModel.from_pretrained(folder)` reads it back.

    Args:
        folder: to write into; it is made where it is not there.
        encoder: of transformers, without the heads that only pretraining needs.
        trainer: its data module's `input_spec` is what the encoder expects of an image.
        objective: what the encoder was trained on, for the provenance.
    """
    encoder.save_pretrained(folder)
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    if isinstance(data, ReadsInputs) and isinstance(data.input_spec, ImageSpec):
        write_preprocessor(folder, data.input_spec)
    write_provenance(folder, trainer, objective, "images")
