"""Masked-autoencoder pretraining of a Hugging Face ViT."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from transformers import ViTConfig, ViTMAEConfig, ViTMAEForPreTraining, ViTModel

from lightning_tl.batches import ClassificationBatch, InputSpec
from lightning_tl.learning_rates import LearningRates
from lightning_tl.schedules import CosineWithWarmup, Schedule


def position_embeddings(dim: int, side: int) -> Tensor:
    """Fixed sine and cosine embeddings of a square grid, as in He et al. 2022 (Vaswani et al. 2017, section 3.5, in 2-D).

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


class MaskedAutoencoder(pl.LightningModule):
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
        super().__init__()
        for name, value, divisor in (
            ("image_size", image_size, patch_size),
            ("hidden_size", hidden_size, heads),
            ("decoder_hidden_size", decoder_hidden_size, heads),
        ):
            if value % divisor:
                raise ValueError(f"{name} must be divisible by {divisor}, got {value}")
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be in (0, 1), got {mask_ratio}")
        self.config = ViTMAEConfig(
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * hidden_size,
            image_size=image_size,
            patch_size=patch_size,
            num_channels=channels,
            decoder_hidden_size=decoder_hidden_size,
            decoder_num_hidden_layers=decoder_layers,
            decoder_num_attention_heads=heads,
            decoder_intermediate_size=4 * decoder_hidden_size,
            mask_ratio=mask_ratio,
            norm_pix_loss=False,
        )
        self.model = ViTMAEForPreTraining(self.config)
        # transformers 5 leaves both fixed position embeddings at zero, and patches without a place teach nothing.
        for embeddings in (self.model.vit.embeddings.position_embeddings, self.model.decoder.decoder_pos_embed):
            embeddings.data.copy_(position_embeddings(embeddings.shape[-1], image_size // patch_size))
        self.lr, self.weight_decay = lr, weight_decay
        self.schedule = schedule or CosineWithWarmup(0.05)
        self.output = output
        self.rates: LearningRates | None = None
        self._rates_state: dict[str, Any] | None = None
        self._loss = float("nan")

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor:
        loss: Tensor = self.model(batch["inputs"]).loss
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=len(batch["inputs"]))
        return loss

    def configure_optimizers(self) -> Optimizer:
        parameters = list(self.model.parameters())
        matrices = [p for p in parameters if p.requires_grad and p.ndim >= 2]
        vectors = [p for p in parameters if p.requires_grad and p.ndim < 2]
        optimizer = AdamW(
            [
                {"params": matrices, "weight_decay": self.weight_decay, "group": "all"},
                {"params": vectors, "weight_decay": 0.0, "group": "all"},
            ],
            lr=self.lr,
            betas=(0.9, 0.95),
        )
        self.rates = LearningRates(optimizer, self.schedule, int(self.trainer.estimated_stepping_batches))
        if self._rates_state is not None:
            self.rates.load_state_dict(self._rates_state)
        return optimizer

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        assert self.rates is not None
        self.rates.write({})
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.rates.advance()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.rates is not None:
            checkpoint["learning_rates"] = self.rates.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._rates_state = checkpoint.get("learning_rates")

    def on_train_epoch_end(self) -> None:
        self._loss = float(self.trainer.callback_metrics["train_loss"])

    def on_train_end(self) -> None:
        if self.trainer.is_global_zero:
            spec = getattr(self.trainer.datamodule, "input_spec", None)  # type: ignore[attr-defined]
            self.save_encoder(self.output or Path(self.trainer.default_root_dir) / "model", spec)

    def save_encoder(self, folder: Path, spec: InputSpec | None) -> None:
        """Write config, safetensors, preprocessor and provenance; `AutoModel.from_pretrained(folder)` reads it back."""
        c = self.config
        config = ViTConfig(
            hidden_size=c.hidden_size,
            num_hidden_layers=c.num_hidden_layers,
            num_attention_heads=c.num_attention_heads,
            intermediate_size=c.intermediate_size,
            image_size=c.image_size,
            patch_size=c.patch_size,
            num_channels=c.num_channels,
        )
        encoder = ViTModel(config, add_pooling_layer=False)
        encoder.load_state_dict(self.model.vit.state_dict())  # every key must match
        encoder.save_pretrained(folder)
        if spec is not None:
            text = {
                "image_processor_type": "ViTImageProcessor",
                "do_resize": True,
                "size": {"height": spec.image_size, "width": spec.image_size},
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": list(spec.mean),
                "image_std": list(spec.std),
            }
            (folder / "preprocessor_config.json").write_text(json.dumps(text, indent=2) + "\n")
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        provenance = {
            "objective": f"masked autoencoder, mask ratio {c.mask_ratio}",
            "steps": self.trainer.global_step,
            "images_per_step": getattr(self.trainer.datamodule, "batch_size", None),  # type: ignore[attr-defined]
            "final_training_loss": round(self._loss, 5),
            "sha256_of_model_safetensors": digest,
            "torch": torch.__version__.split("+")[0],
        }
        (folder / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")
