"""Contrastive pretraining of a Hugging Face ViT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import ViTModel

from lightning_tl.contracts.batches import ImageBatch
from lightning_tl.losses import NTXent
from lightning_tl.pretraining.encoder_pretraining import EncoderPretraining


class ContrastivePretraining(EncoderPretraining):
    """Tell an image's second view from those of all other images (SimCLR, Chen et al. 2020, arXiv 2002.05709).

    The class token learns directly, unlike in a masked autoencoder, and telling hundreds of tiles apart needs the small
    differences of colour that a reconstruction loss may leave out. The views come from the data module. Under DDP the
    other processes' images count as negatives too, gathered with their gradients, so the loss is that of one process
    with the whole batch.

    Args:
        projection: width of the space in which views are compared; its head is thrown away afterwards.
        temperature: of the loss.
        **options: of `EncoderPretraining`.
    """

    def __init__(self, projection: int = 128, temperature: float = 0.2, **options: Any) -> None:
        super().__init__(**options)
        self.encoder = ViTModel(self.encoder_config, add_pooling_layer=False)
        width = self.encoder_config.hidden_size
        self.projector = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, projection))
        self.loss = NTXent(temperature)

    @property
    def objective(self) -> str:
        """See `EncoderPretraining`."""
        return f"SimCLR, temperature {self.loss.temperature:g}"

    def trained_encoder(self) -> ViTModel:
        """See `EncoderPretraining`."""
        return self.encoder

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The loss of a batch of two views each, logged."""
        views = batch["inputs"]  # [batch, 2, channels, height, width]
        if views.ndim != 5 or views.shape[1] != 2:
            raise ValueError(
                f"inputs must be two views, [batch, 2, channels, height, width], got {tuple(views.shape)}; set views: 2"
            )
        tokens = self.encoder(views.transpose(0, 1).flatten(0, 1)).last_hidden_state
        first, second = self.projector(tokens[:, 0]).chunk(2)
        if self.trainer.world_size > 1:
            gathered = self.all_gather(torch.stack([first, second]), sync_grads=True)  # [ranks, 2, batch, projection]
            assert isinstance(gathered, Tensor)
            everyone = gathered.transpose(0, 1).flatten(1, 2)
            loss = self.loss(first, second, everyone, offset=self.global_rank * len(first))
        else:
            loss = self.loss(first, second)
        assert isinstance(loss, Tensor)
        self.log_training(loss, batch)
        return loss
