"""CLIP: images and captions find each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

from lightning_tl.adaptation import Adaptation, Full
from lightning_tl.backbones import Backbone, HuggingFaceText
from lightning_tl.backbones.hugging_face.dual_encoder import DualEncoder
from lightning_tl.contracts.batches import CaptionedBatch, TextInputs, moved
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.layer_groups import HEAD, LayerGroup, by_depth
from lightning_tl.losses import InfoNCE
from lightning_tl.pretraining.clip.checks import (
    check_adapted,
    check_batch,
    check_batch_size,
    check_numbers,
    check_same,
    check_towers,
    tell_of_folder,
)
from lightning_tl.pretraining.clip.pair_loss import PairLoss
from lightning_tl.pretraining.clip.pair_search import PairSearch
from lightning_tl.pretraining.clip.zero_shot_probe import ZeroShotProbe
from lightning_tl.pretraining.pretraining import Pretraining
from lightning_tl.pretraining.provenance import renew_hash
from lightning_tl.training.pieces import encode_pieces, in_pieces
from lightning_tl.training.schedules import Schedule
from lightning_tl.training.trained_module import TrainedModule
from lightning_tl.training.training_groups import Tower

_PROMPTS_AT_ONCE = 256


class Clip(Pretraining):
    """Tell an image's caption from those of all other images (CLIP, Radford et al. 2021, arXiv 2103.00020).

    Features of both backbones are projected linearly to unit vectors; see `PairLoss`. With `image_adaptation: Frozen`
    the image tower stays as it is and texts learn to read it (LiT, Zhai et al. 2022, arXiv 2111.07991). Validation and
    test search the whole split: by image for captions, by caption for images.

    The folder holds both backbones, as `image` and `text`, with their projections (`ImageTextPair` opens it), and
    around them what transformers opens as one model, where it has one that gives the same vectors: see `DualEncoder`.

    Args:
        backbone: reads images.
        text_backbone: reads captions.
        projection: length of the vectors.
        loss: with the temperature; default 0.07, learned, at least 0.01 (logits of at most 100, section 2.5).
        image_adaptation: what of the image tower is trained; default all.
        text_adaptation: likewise of the text tower.
        image_lr: rate of the image tower's last layer group; default `lr` times the adaptation's `rate` (0.1), and `lr`
            of a tower without pretrained weights.
        text_lr: likewise of the text tower.
        chunk: images, or texts, encoded at once; larger batches are encoded again in the backward pass, chunk by chunk,
            so that their memory is that of a chunk (gradient caching, see `encode_pieces`). None: the whole batch.
        zero_shot: labelled images, told apart by their classes' names beside each validation.
        lr: learning rate of projections and temperature.
        layer_decay: each layer group's rate is this times the rate of the group after it, in (0, 1].
        weight_decay: not applied to biases, norms and the temperature.
        schedule: of the learning rates.
        output: folder of the trained model; default `model` in the run folder.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.98)  # of AdamW, as in table 18 of the paper

    def __init__(
        self,
        backbone: Backbone,
        text_backbone: Backbone,
        projection: int = 256,
        loss: InfoNCE | None = None,
        image_adaptation: Adaptation | None = None,
        text_adaptation: Adaptation | None = None,
        image_lr: float | None = None,
        text_lr: float | None = None,
        chunk: int | None = None,
        zero_shot: ZeroShotProbe | None = None,
        lr: float = 1e-3,
        layer_decay: float = 1.0,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        output: Path | None = None,
    ) -> None:
        check_towers(backbone, text_backbone)
        check_numbers(projection, chunk, {"image_lr": image_lr, "text_lr": text_lr})
        super().__init__(backbone, lr, weight_decay, schedule, output)
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay must be in (0, 1], got {layer_decay}")
        self.layer_decay, self.make_optimizer = layer_decay, partial(AdamW, betas=self.betas)
        assert isinstance(text_backbone, HuggingFaceText)
        self.text_backbone = text_backbone
        self.image_projection = _projection(backbone.feature_dim, projection)
        self.text_projection = _projection(text_backbone.feature_dim, projection)
        self.pair_loss = PairLoss(loss or InfoNCE(0.07))
        self._start = self.pair_loss.loss.temperature
        self.image_adaptation, self.text_adaptation = image_adaptation or Full(), text_adaptation or Full()
        self.image_lr, self.text_lr = (
            given if given is not None or tower.arguments.get("weights", True) else lr
            for given, tower in ((image_lr, backbone), (text_lr, text_backbone))
        )
        self.chunk, self.zero_shot = chunk, zero_shot
        self.search = PairSearch()
        self._written = False

    # ---------------------------------------------------------------- which of it trains

    def towers(self) -> list[Tower]:
        """Both backbones, each with its adaptation."""
        return [
            Tower("backbone", self.backbone, self.image_adaptation, self.image_lr, "image"),
            Tower("text_backbone", self.text_backbone, self.text_adaptation, self.text_lr, "text"),
        ]

    def layer_groups(self) -> list[LayerGroup]:
        """The towers' groups, those at the same distance from the output side by side, then `head`."""
        groups = by_depth([tower.layer_groups() for tower in self.towers()])
        inside = {name for group in groups for name in group.parameter_names}
        rest = frozenset(name for name, _ in self.named_parameters()) - inside
        return [*groups, LayerGroup(HEAD, rest, (self.image_projection, self.text_projection, self.pair_loss))]

    def configure_model(self) -> None:
        """Adapt both towers.

        Raises:
            ValueError: parameters were added, or batch statistics would be taken of chunks.
        """
        if self.is_built:
            return
        for tower in self.towers():
            tower.adaptation.apply(tower.backbone)
            check_adapted(tower, self.chunk)
        self.begin_training_rules()

    def train(self, mode: bool = True) -> Clip:
        """A tower of which nothing trains stays in evaluation mode."""
        super().train(mode)
        for tower in (self.backbone, self.text_backbone):
            if self.is_built and not any(parameter.requires_grad for parameter in tower.parameters()):
                tower.eval()
        return self

    def configure_optimizers(self) -> Optimizer:
        """AdamW over the layer groups' rates."""
        return TrainedModule.configure_optimizers(self)

    @property
    def objective(self) -> str:
        """What the backbones are trained on, for the provenance."""
        texts = self.text_backbone.arguments["pretrained"]
        how = "".join(
            f", {name} tower {type(adaptation).__name__}"
            for name, adaptation in (("image", self.image_adaptation), ("text", self.text_adaptation))
            if type(adaptation) is not Full
        )
        return f"CLIP with the texts of {texts}, temperature {self.pair_loss.loss.temperature:.3g} at the end{how}"

    # ---------------------------------------------------------------- vectors

    def embed_images(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to [batch, projection], unit norm."""
        return self._embed(inputs, self.backbone, self.image_projection)

    def embed_texts(self, inputs: TextInputs) -> Tensor:
        """Tokens to [batch, projection], unit norm."""
        return self._embed(inputs, self.text_backbone, self.text_projection)

    def _embed(self, inputs: Any, backbone: Backbone, projection: nn.Module) -> Tensor:
        live = any(parameter.requires_grad for parameter in backbone.parameters())
        pieces = [inputs] if self.chunk is None else in_pieces(inputs, self.chunk)
        with torch.set_grad_enabled(live and torch.is_grad_enabled()):
            features = encode_pieces(backbone, pieces, again=len(pieces) > 1)
        return F.normalize(projection(features).float(), dim=-1)

    def embed_wordings(self, texts: Sequence[str]) -> Tensor:
        """Texts to [texts, projection], unit norm, without gradients."""
        starts = range(0, len(texts), _PROMPTS_AT_ONCE)
        parts = [self.text_backbone.tokenize(texts[start : start + _PROMPTS_AT_ONCE]) for start in starts]
        with torch.no_grad():
            return torch.cat([self.embed_texts(moved(part, self.device)) for part in parts])

    # ---------------------------------------------------------------- training

    def setup(self, stage: str) -> None:
        """Read images as the data module prepares them, and say what the result will be.

        Raises:
            ValueError: a batch of one pair.
        """
        super().setup(stage)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit":
            check_batch_size(data, self.trainer.world_size)
        if self.zero_shot is not None:
            self.zero_shot.prepare(Conditions.of_trainer(self.trainer))
        if stage == "fit":
            tell_of_folder(self.dual_encoder())

    def training_step(self, batch: CaptionedBatch, batch_idx: int) -> Tensor:
        """One batch's loss, logged with the temperature."""
        check_batch(batch)
        images, texts = self.embed_images(batch["inputs"]), self.embed_texts(batch["captions"])
        ranks = self.global_rank, self.trainer.world_size
        loss: Tensor = self.pair_loss(images, texts, batch["known"], batch["caption"], *ranks)
        self.log_training(loss, batch)
        if self.logs_now:
            self.log("temperature", self.pair_loss.loss.temperature, on_step=True)
        return loss

    # ---------------------------------------------------------------- validation and test: a whole split

    def on_validation_epoch_start(self) -> None:
        """Forget the vectors of the last time."""
        self.search.begin()

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: CaptionedBatch, batch_idx: int) -> None:
        """Add a batch of images and all of their captions to what is searched."""
        check_batch(batch)
        images, texts = self.embed_images(batch["inputs"]), self.embed_texts(batch["captions"])
        self.search.add(images, texts, batch["image"], batch["known"], batch["caption"])

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Log the loss of the whole split, both recalls, and the accuracy without labels."""
        self._judge("val", "validation")
        super().on_validation_epoch_end()

    def on_test_epoch_end(self) -> None:
        """The same of the test split, said as well."""
        found = self._judge("test", "test")
        told = ", ".join(f"{name.removeprefix('test_')} {value:.3f}" for name, value in found.items())
        rank_zero_info(f"Test: {told}")

    def _judge(self, stage: str, split: str) -> dict[str, float]:
        ranks = self.global_rank, self.trainer.world_size
        found = {f"{stage}_{name}": float(value) for name, value in self.search.finish(self.pair_loss, *ranks).items()}
        if self.zero_shot is not None:
            with self.trainer.precision_plugin.forward_context():
                how = self.embed_wordings, self.embed_images, split, *ranks
                found[f"{stage}_zero_shot_accuracy"] = self.zero_shot.accuracy(*how)[0]
        self.log_dict(found, prog_bar=True, sync_dist=True)  # the same on all ranks
        return found

    # ---------------------------------------------------------------- what it leaves behind

    def dual_encoder(self) -> DualEncoder:
        """Both towers with their projections, to be written."""
        towers = self.backbone, self.text_backbone
        return DualEncoder(*towers, self.image_projection, self.text_projection, self.pair_loss.loss.log_scale)

    def save(self, folder: Path) -> None:
        """Write both backbones, and the model around them."""
        self.dual_encoder().save(folder)

    def write(self) -> None:
        """See `Pretraining`."""
        super().write()
        self._written = True

    def on_test_end(self) -> None:
        """After a fit the best weights are tested: the folder gets these."""
        if self._written:
            self.save(self.folder)
            renew_hash(self.folder)

    def _settings(self) -> dict[str, Any]:
        loss = self.pair_loss.loss
        temperature = [self._start, loss.log_scale.requires_grad, loss.lowest, loss.highest]
        return {"projection": self.image_projection.out_features, "temperature": temperature}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run must have alike."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["clip"] = self._settings()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses, by ValueError, to go on with another projection or another temperature setting."""
        if self._trainer is not None and self._trainer.state.fn == "fit":
            check_same(checkpoint.get("clip", {}), self._settings())
        super().on_load_checkpoint(checkpoint)


def _projection(width: int, dim: int) -> nn.Linear:
    layer = nn.Linear(width, dim, bias=False)
    nn.init.normal_(layer.weight, std=width**-0.5)
    return layer
