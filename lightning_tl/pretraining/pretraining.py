"""`Pretraining`: what every objective without labels has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from lightning_tl.backbones.base import Backbone, take_input
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.pretraining.crops import Crops
from lightning_tl.pretraining.parameter_decay import weight_decay_groups
from lightning_tl.pretraining.provenance import write_provenance
from lightning_tl.pretraining.resumed_settings import check_resumed
from lightning_tl.pretraining.views_read import ViewsRead
from lightning_tl.training.schedules import Schedule
from lightning_tl.training.trained_module import TrainedModule

KEPT = "objective"  # in checkpoints: what a resumed run must share


class Pretraining(TrainedModule, ABC):
    """Trains a backbone without labels, and at the end writes it as a folder that every recipe opens.

    The backbone starts from pretrained weights (domain-adaptive pretraining, Gururangan et al. 2020, arXiv 2004.10964)
    or, built with `weights=False`, from nothing. Bands, mean and deviation of its images are those of the data module.

    A subclass defines `training_step` and `objective`; networks that copy the backbone it builds in `configure_model`,
    when the bands are known. With `reads` it says what it reads of each image, so that other data are refused before
    they are looked at, and with `resumed_settings` what a resumed run must share.

    Args:
        backbone: what is trained.
        lr: learning rate at the top of the schedule.
        weight_decay: not applied to biases and norms.
        schedule: of the learning rate.
        output: folder of the trained backbone; default `model` in the run folder.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)  # of AdamW
    samples: ClassVar[str] = "images"  # what a batch holds, for the provenance
    reads: ClassVar[ViewsRead | None] = None  # of each image; None for whatever there is

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        output: Path | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, schedule=schedule)
        self.take_backbone(backbone)
        self.output = output

    def take_backbone(self, backbone: Backbone) -> None:
        """Keep the backbone; a subclass whose network holds it already keeps it elsewhere."""
        self.backbone = backbone

    # ---------------------------------------------------------------- what subclasses say

    @property
    @abstractmethod
    def objective(self) -> str:
        """What the backbone is trained on, for the provenance."""

    @property
    def trained(self) -> Backbone:
        """What is probed during training, and written after it; a momentum teacher, for example."""
        return self.backbone

    @property
    def resumed_settings(self) -> dict[str, Any]:
        """By name, what a run that goes on from a checkpoint of this one must have in common with it."""
        return {}

    def features(self, inputs: Any) -> Tensor:
        """What a probe reads: inputs of the data of a task to features [batch, feature_dim]."""
        return self.trained(inputs)  # type: ignore[no-any-return]

    def save(self, folder: Path) -> None:
        """Write what was trained."""
        self.trained.save(folder)

    @property
    def started_from(self) -> str:
        """The weights that the backbone began with, for the provenance; empty where it began with none."""
        told = self.backbone.arguments
        return str(told["pretrained"]) if told.get("weights", True) else ""

    # ---------------------------------------------------------------- training

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Lightning's first question of a fit, before data are read: what could be told to be in vain is refused.

        Raises:
            ValueError: the backbone could not be written, or batches would hold something else than is read.
        """
        if self.trainer.state.fn == "fit":
            if type(self).save is Pretraining.save and type(self.trained).save is Backbone.save:
                raise ValueError(
                    f"{type(self.trained).__name__} has no folder of its own, so nothing of its training could be "
                    "kept: take another backbone, such as HuggingFaceVision or TimmBackbone"
                )
            if self.reads is not None:
                data = self.trainer.datamodule  # type: ignore[attr-defined]
                self.reads.check(type(self).__name__, data, self.trainer.world_size)
        return super().configure_callbacks()

    def setup(self, stage: str) -> None:
        """Read images as the data module prepares them.

        Raises:
            ValueError: the images have another size or other bands than the backbone reads.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        take_input(self.backbone, data)
        own, given = self.backbone.input_spec, getattr(data, "input_spec", None)
        if isinstance(own, ImageSpec) and isinstance(given, ImageSpec) and own.image_size != given.image_size:
            raise ValueError(
                f"the backbone reads images of {own.image_size} x {own.image_size} pixels, and {type(data).__name__} "
                f"makes them {given.image_size} x {given.image_size}: set image_size of one of them"
            )

    def configure_optimizers(self) -> Optimizer:
        """AdamW under the schedule; biases and norms do not decay."""
        groups = weight_decay_groups(self, self.weight_decay)
        return self.scheduled(torch.optim.AdamW(groups, lr=self.lr, betas=self.betas))

    def _must_share(self) -> dict[str, Any]:
        data = None if self._trainer is None else self.trainer.datamodule  # type: ignore[attr-defined]
        crops = Crops.of_data(data)
        shared = {"objective": type(self).__name__, **self.resumed_settings}
        return shared | ({} if crops is None else {"crops": str(crops)})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the settings that a resumed run must share."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[KEPT] = self._must_share()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses, by ValueError, to go on from a checkpoint that was made with other settings or crops."""
        if self._trainer is not None and self._trainer.state.fn == "fit":
            check_resumed(checkpoint.get(KEPT, {}), self._must_share())
        super().on_load_checkpoint(checkpoint)

    def on_train_end(self) -> None:
        """Write the folder."""
        if self.trainer.is_global_zero:
            self.write()

    @property
    def folder(self) -> Path:
        """Where the trained backbone is written."""
        return self.output or Path(self.trainer.default_root_dir) / "model"

    def write(self) -> None:
        """Write the folder, with where its weights come from."""
        self.save(self.folder)
        write_provenance(self.folder, self.trainer, self.objective, self.samples, self.started_from)
