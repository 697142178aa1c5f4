"""Distillation: a small student learns a large teacher's features."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from lightning_tl.adaptation import Frozen, Full
from lightning_tl.backbones.base import Backbone, take_input
from lightning_tl.contracts.batches import ImageBatch, ImageSpec
from lightning_tl.contracts.layer_groups import HEAD, LayerGroup, by_depth
from lightning_tl.losses import CosineDistance
from lightning_tl.pretraining.pretraining import Pretraining
from lightning_tl.pretraining.views_read import ViewsRead
from lightning_tl.training.trained_module import TrainedModule
from lightning_tl.training.training_groups import Tower


class FeatureDistillation(Pretraining):
    """Let a student find what a frozen teacher finds in unlabelled images, through a linear layer that is thrown away.

    See Hinton et al. 2015 (arXiv 1503.02531), and of features in place of class probabilities Wei et al. 2022 (arXiv
    2205.14141); small models that learn from a large one do better than alone (Oquab et al. 2023, arXiv 2304.07193,
    section 5). The teacher reads each image in its own size, with its own mean and deviation; give the data module the
    larger of both sizes (`data.image_size`), so that nothing is lost for it. It never trains, and checkpoints leave it
    out: a run resumes beside the same teacher alone.

    Args:
        backbone: the student.
        teacher: reads as many channels as the student.
        loss: between the projected features of the student and the teacher's; default `CosineDistance`.
        **options: of `Pretraining`.
    """

    reads: ClassVar[ViewsRead | None] = ViewsRead(most=None)

    def __init__(self, backbone: Backbone, teacher: Backbone, loss: nn.Module | None = None, **options: Any) -> None:
        super().__init__(backbone, **options)
        for name, reader in (("backbone", backbone), ("teacher", teacher)):
            if not isinstance(reader.input_spec, ImageSpec):
                raise ValueError(
                    f"{name} must read images, such as HuggingFaceVision; {type(reader).__name__} does not"
                )
        self.teacher = teacher
        self.projector = nn.Linear(backbone.feature_dim, teacher.feature_dim)
        self.loss = loss or CosineDistance()

    @property
    def objective(self) -> str:
        """See `Pretraining`."""
        teacher = self.teacher.arguments.get("pretrained", type(self.teacher).__name__)
        return f"features of {teacher}, {type(self.loss).__name__}"

    @property
    def resumed_settings(self) -> dict[str, Any]:
        """See `Pretraining`."""
        return {"loss": type(self.loss).__name__}

    def towers(self) -> list[Tower]:
        """The student, all of which trains, and the teacher, nothing of which does."""
        return [
            Tower("backbone", self.backbone, Full(), self.lr, "student"),
            Tower("teacher", self.teacher, Frozen(), None, "teacher"),
        ]

    def layer_groups(self) -> list[LayerGroup]:
        """The groups of both, those at the same distance from the output side by side, then `head`."""
        groups = by_depth([tower.layer_groups() for tower in self.towers()])
        inside = {name for group in groups for name in group.parameter_names}
        rest = frozenset(name for name, _ in self.named_parameters()) - inside
        return [*groups, LayerGroup(HEAD, rest, (self.projector, self.loss))]

    def configure_model(self) -> None:
        """Freeze the teacher."""
        if not self.is_built:
            for tower in self.towers():
                tower.adaptation.apply(tower.backbone)
            self.begin_training_rules()

    def configure_optimizers(self) -> Optimizer:
        """AdamW over the layer groups."""
        return TrainedModule.configure_optimizers(self)

    def train(self, mode: bool = True) -> FeatureDistillation:
        """The teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def setup(self, stage: str) -> None:
        """Read images as the data module prepares them, in whatever size.

        Raises:
            ValueError: the teacher reads another number of channels.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        take_input(self.backbone, data)
        student, teacher = self._specs()
        if student.channels != teacher.channels:
            raise ValueError(
                f"the teacher reads {teacher.channels} channels, and the images have {student.channels}: take a "
                "teacher of as many, or choose these bands"
            )

    def _specs(self) -> tuple[ImageSpec, ImageSpec]:
        student, teacher = self.backbone.input_spec, self.teacher.input_spec
        assert isinstance(student, ImageSpec) and isinstance(teacher, ImageSpec)
        return student, teacher

    @torch.no_grad()
    def wanted(self, images: Tensor) -> Tensor:
        """The teacher's features: [batch, its feature_dim].

        Args:
            images: [batch, channels, height, width], normalised as for the student.
        """
        student, teacher = self._specs()
        mean, std, own_mean, own_std = (
            images.new_tensor(values).view(-1, 1, 1)
            for values in (student.mean, student.std, teacher.mean, teacher.std)
        )
        found: Tensor = self.teacher(sized((images * std + mean - own_mean) / own_std, teacher.image_size))
        return found

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The loss of a batch of images, or of all views of them, logged."""
        images = batch["inputs"]
        images = images.flatten(0, 1) if images.ndim == 5 else images
        found = self.projector(self.backbone(sized(images, self._specs()[0].image_size)))
        loss: Tensor = self.loss(found, self.wanted(images))
        self.log_training(loss, batch)
        return loss


def sized(images: Tensor, size: int) -> Tensor:
    """Square images [batch, channels, side, side] of another size: bicubic, antialiased."""
    if images.shape[-1] == images.shape[-2] == size:
        return images
    return F.interpolate(images.float(), (size, size), mode="bicubic", antialias=True).to(images.dtype)
