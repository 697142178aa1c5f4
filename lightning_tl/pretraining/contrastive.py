"""Contrastive pretraining of a Hugging Face ViT."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_tl.batches import ImageBatch
from lightning_tl.losses import NTXent
from lightning_tl.pretraining.encoder import small_vit, weight_decay_groups, write_encoder
from lightning_tl.scheduled_module import ScheduledModule
from lightning_tl.schedules import Schedule


class ContrastivePretraining(ScheduledModule):
    """Tell an image's second view from those of all other images (SimCLR, Chen et al. 2020, arXiv 2002.05709).

    The class token learns directly, unlike in a masked autoencoder, and telling hundreds of tiles apart needs the small
    differences of colour that a reconstruction loss may leave out. The views come from the data module. Under DDP the
    other processes' images count as negatives too, gathered with their gradients, so the loss is that of one process
    with the whole batch. At the end of training the encoder is saved as an ordinary Hugging Face ViT folder.

    Args:
        image_size: pixels, divisible by `patch_size`.
        patch_size: pixels.
        channels: bands of the image.
        hidden_size: width of the encoder, divisible by `heads`.
        layers: blocks of the encoder.
        heads: attention heads.
        projection: width of the space in which views are compared; its head is thrown away afterwards.
        temperature: of the loss.
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
        projection: int = 128,
        temperature: float = 0.2,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        output: Path | None = None,
    ) -> None:
        super().__init__(schedule)
        self.encoder = small_vit(image_size, patch_size, channels, hidden_size, layers, heads)
        wide = 2 * hidden_size
        self.projector = nn.Sequential(nn.Linear(hidden_size, wide), nn.GELU(), nn.Linear(wide, projection))
        self.loss = NTXent(temperature)
        self.lr, self.weight_decay, self.output = lr, weight_decay, output

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
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

    def configure_optimizers(self) -> Optimizer:
        return self.scheduled(torch.optim.AdamW(weight_decay_groups(self, self.weight_decay), lr=self.lr))

    def on_train_end(self) -> None:
        if self.trainer.is_global_zero:
            folder = self.output or Path(self.trainer.default_root_dir) / "model"
            objective = f"SimCLR, temperature {self.loss.temperature:g}"
            write_encoder(folder, self.encoder, self.trainer, objective)
