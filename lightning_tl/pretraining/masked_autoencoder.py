"""Masked-autoencoder pretraining of a Hugging Face ViT."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTModel

from lightning_tl.contracts.batches import ImageBatch
from lightning_tl.pretraining.encoder_pretraining import EncoderPretraining

# Fields of ViTConfig that ViTMAEConfig has too.
SHARED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "image_size",
    "patch_size",
    "num_channels",
)


def position_embeddings(dim: int, side: int) -> Tensor:
    """Fixed sine and cosine embeddings of a square grid (Vaswani et al. 2017, section 3.5, over rows and columns).

    Args:
        dim: width, divisible by 4: half tells the row, half the column.
        side: patches along one side.

    Returns:
        [1, 1 + side * side, dim], zero for the class token.
    """
    if dim % 4:
        raise ValueError(f"the width must be divisible by 4, got {dim}")
    frequencies = 10_000 ** (-torch.arange(dim // 4) / (dim // 4))
    angles = torch.arange(side)[:, None] * frequencies  # [side, dim / 4]
    line = torch.cat([angles.sin(), angles.cos()], 1)  # [side, dim / 2]
    grid = torch.cat([line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)], 2).flatten(0, 1)
    return torch.cat([torch.zeros(1, dim), grid])[None]


class MaskedAutoencoder(EncoderPretraining):
    """Reconstruct the masked patches of unlabelled images (He et al. 2022, arXiv 2111.06377).

    Deviations from the paper: the target is the pixels, not normalised per patch (colour is what tells land covers
    apart), and the default mask hides 60% since small images have few patches.

    Args:
        decoder_hidden_size: width of the decoder, divisible by `heads`.
        decoder_layers: blocks of the decoder, which has as many heads as the encoder.
        mask_ratio: share of hidden patches, in (0, 1).
        **options: of `EncoderPretraining`.
    """

    betas = (0.9, 0.95)

    def __init__(
        self, decoder_hidden_size: int = 96, decoder_layers: int = 2, mask_ratio: float = 0.6, **options: Any
    ) -> None:
        super().__init__(**options)
        shared = {name: getattr(self.encoder_config, name) for name in SHARED}
        heads = self.encoder_config.num_attention_heads
        if decoder_hidden_size % heads:
            raise ValueError(f"decoder_hidden_size must be divisible by heads ({heads}), got {decoder_hidden_size}")
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be in (0, 1), got {mask_ratio}")
        self.mask_ratio = mask_ratio
        config = ViTMAEConfig(
            **shared,
            decoder_hidden_size=decoder_hidden_size,
            decoder_num_hidden_layers=decoder_layers,
            decoder_num_attention_heads=heads,
            decoder_intermediate_size=4 * decoder_hidden_size,
            mask_ratio=mask_ratio,
            norm_pix_loss=False,
        )
        self.model = ViTMAEForPreTraining(config)
        # transformers 5 leaves both fixed position embeddings at zero, and patches without a place teach nothing.
        for embeddings in (self.model.vit.embeddings.position_embeddings, self.model.decoder.decoder_pos_embed):
            embeddings.data.copy_(position_embeddings(embeddings.shape[-1], math.isqrt(embeddings.shape[1] - 1)))

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The loss of a batch of images [batch, channels, height, width], logged."""
        images = batch["inputs"]
        if images.ndim != 4:
            raise ValueError(
                f"inputs must be [batch, channels, height, width], got {tuple(images.shape)}; set views: 1"
            )
        loss: Tensor = self.model(images).loss
        self.log_training(loss, batch)
        return loss

    @property
    def objective(self) -> str:
        """See `EncoderPretraining`."""
        return f"masked autoencoder, {self.mask_ratio:.0%} masked"

    def trained_encoder(self) -> ViTModel:
        """See `EncoderPretraining`."""
        encoder = ViTModel(self.encoder_config, add_pooling_layer=False)
        encoder.load_state_dict(self.model.vit.state_dict())  # every key must match
        return encoder
