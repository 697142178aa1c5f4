"""What all self-supervised pretraining of image encoders shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch.optim import Optimizer
from transformers import ViTModel

from lightning_tl.pretraining.encoder import vit_config, write_encoder
from lightning_tl.pretraining.parameter_decay import weight_decay_groups
from lightning_tl.training.schedules import Schedule
from lightning_tl.training.trained_module import TrainedModule


class EncoderPretraining(TrainedModule, ABC):
    """Trains a small ViT without labels, and at the end saves it as an ordinary Hugging Face ViT folder.

    Subclasses build their networks from `encoder_config` and define `training_step`, `trained_encoder` and `objective`.

    Args:
        image_size: pixels, divisible by `patch_size`.
        patch_size: pixels.
        channels: bands of the image.
        hidden_size: width of the encoder, divisible by `heads`.
        layers: blocks of the encoder.
        heads: attention heads.
        lr: learning rate at the top of the schedule.
        weight_decay: not applied to biases and norms.
        schedule: of the learning rate.
        output: folder of the encoder; default `model` in the run folder.
    """

    betas = (0.9, 0.999)  # of AdamW

    def __init__(
        self,
        image_size: int = 16,
        patch_size: int = 4,
        channels: int = 3,
        hidden_size: int = 192,
        layers: int = 6,
        heads: int = 3,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        output: Path | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, schedule=schedule)
        self.encoder_config = vit_config(image_size, patch_size, channels, hidden_size, layers, heads)
        self.output = output

    @property
    @abstractmethod
    def objective(self) -> str:
        """What the encoder is trained on, for the provenance."""

    @abstractmethod
    def trained_encoder(self) -> ViTModel:
        """The encoder alone, without a pooler."""

    def configure_optimizers(self) -> Optimizer:
        """AdamW under the schedule; biases and norms do not decay."""
        groups = weight_decay_groups(self, self.weight_decay)
        return self.scheduled(torch.optim.AdamW(groups, lr=self.lr, betas=self.betas))

    def on_train_end(self) -> None:
        """Write the encoder's folder."""
        if self.trainer.is_global_zero:
            folder = self.output or Path(self.trainer.default_root_dir) / "model"
            write_encoder(folder, self.trained_encoder(), self.trainer, self.objective)
