"""Masked-autoencoder pretraining of a Hugging Face ViT."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTModel

from lightning_tl.batches import ImageBatch
from lightning_tl.pretraining.encoder import small_vit, weight_decay_groups, write_encoder
from lightning_tl.scheduled_module import ScheduledModule
from lightning_tl.schedules import Schedule


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


class MaskedAutoencoder(ScheduledModule):
    """Reconstruct the masked patches of unlabelled images (He et al. 2022, arXiv 2111.06377).

    At the end of training the encoder is saved as an ordinary Hugging Face ViT folder, a backbone for the strategies.
    Deviations from the paper: the target is the pixels, not normalised per patch (colour is what tells land covers
    apart), and the default mask hides 60% since small images have few patches.

    Args:
        image_size: pixels, divisible by `patch_size`.
        patch_size: pixels.
        channels: bands of the image.
        hidden_size: width of the encoder, divisible by `heads`.
        layers: blocks of the encoder.
        heads: attention heads of encoder and decoder.
        decoder_hidden_size: width of the decoder, divisible by `heads`.
        decoder_layers: blocks of the decoder.
        mask_ratio: share of hidden patches, in (0, 1).
        lr: learning rate at the top of the schedule.
        weight_decay: not applied to biases and norms.
        schedule: of the learning rate.
        output: folder of the encoder; default `model` in the run folder.
    """

    def __init__(
        self,
        image_size: int = 16,
        patch_size: int = 4,
        channels: int = 3,
        hidden_size: int = 192,
        layers: int = 6,
        heads: int = 3,
        decoder_hidden_size: int = 96,
        decoder_layers: int = 2,
        mask_ratio: float = 0.6,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        output: Path | None = None,
    ) -> None:
        super().__init__(schedule)
        if decoder_hidden_size % heads:
            raise ValueError(f"decoder_hidden_size must be divisible by heads ({heads}), got {decoder_hidden_size}")
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be in (0, 1), got {mask_ratio}")
        self.lr, self.weight_decay, self.mask_ratio, self.output = lr, weight_decay, mask_ratio, output
        encoder = small_vit(image_size, patch_size, channels, hidden_size, layers, heads)
        config = ViTMAEConfig(
            **{name: getattr(encoder.config, name) for name in ("hidden_size", "num_hidden_layers", "num_channels")},
            num_attention_heads=heads,
            intermediate_size=4 * hidden_size,
            image_size=image_size,
            patch_size=patch_size,
            decoder_hidden_size=decoder_hidden_size,
            decoder_num_hidden_layers=decoder_layers,
            decoder_num_attention_heads=heads,
            decoder_intermediate_size=4 * decoder_hidden_size,
            mask_ratio=mask_ratio,
            norm_pix_loss=False,
        )
        self.encoder_config = encoder.config
        self.model = ViTMAEForPreTraining(config)
        # transformers 5 leaves both fixed position embeddings at zero, and patches without a place teach nothing.
        for embeddings in (self.model.vit.embeddings.position_embeddings, self.model.decoder.decoder_pos_embed):
            embeddings.data.copy_(position_embeddings(embeddings.shape[-1], image_size // patch_size))

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        images = batch["inputs"]
        if images.ndim != 4:
            raise ValueError(
                f"inputs must be [batch, channels, height, width], got {tuple(images.shape)}; set views: 1"
            )
        loss: Tensor = self.model(images).loss
        self.log_training(loss, batch)
        return loss

    def configure_optimizers(self) -> Optimizer:
        groups = weight_decay_groups(self, self.weight_decay)
        return self.scheduled(torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.95)))

    def on_train_end(self) -> None:
        if self.trainer.is_global_zero:
            encoder = ViTModel(self.encoder_config, add_pooling_layer=False)
            encoder.load_state_dict(self.model.vit.state_dict())  # every key must match
            folder = self.output or Path(self.trainer.default_root_dir) / "model"
            write_encoder(folder, encoder, self.trainer, f"masked autoencoder, {self.mask_ratio:.0%} masked")
