"""DINO: a student predicts what a slowly following teacher says of another crop of the same image."""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.losses.dino import DinoLoss, entropy
from lightning_tl.pretraining.crops import Crops
from lightning_tl.pretraining.dino.projection_head import ProjectionHead
from lightning_tl.pretraining.dino.teacher_schedule import TeacherSchedule
from lightning_tl.pretraining.pretraining import KEPT, Pretraining
from lightning_tl.pretraining.resumed_settings import check_resumed
from lightning_tl.pretraining.views_read import ViewsRead

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Dino(Pretraining):
    """Self-distillation without labels (Caron et al. 2021, arXiv 2104.14294, algorithm 1), with crops of two sizes.

    The teacher is a moving average of the student and is what is probed and written. It reads the views alone, the
    student all crops; images of one size go through the backbone together. Centre and loss are those of the whole batch
    of all processes.

    BatchNorm of student and teacher each normalise by the crops of one size of the batch at hand and keep statistics of
    their own, as in the paper's code; under DDP those of one process, unless `--trainer.sync_batchnorm=true`. Dropout
    and drop path act in the student alone.

    `teacher_entropy` of log(prototypes) means that all outputs became equal, `marginal_entropy` (of the mean over the
    batch) of no more than `teacher_entropy` that all images have the same outputs: either is a collapse.

    Args:
        backbone: what is trained: any that reads images, and images of the size of local crops where there are any.
        prototypes: outputs of the head; 65,536 in the paper, for the 1.3 million images of ImageNet.
        hidden: width of the head's hidden layers.
        bottleneck: width in which features are compared with prototypes.
        temperature: of the student.
        teacher_temperature: at most the student's; the lower, the sharper.
        warmup_temperature: of the teacher at the start; default `teacher_temperature`.
        warmup_epochs: in which the teacher's temperature goes from the one to the other.
        momentum: share of the teacher that stays in the first step; it rises to 1 at the end of the run.
        centre_momentum: share of the centre that stays in a step.
        frozen_epochs: in which the prototypes stay as they are.
        **options: of `Pretraining`.
    """

    reads: ClassVar[ViewsRead | None] = ViewsRead(fewest=2, most=None, local=True, images=2)

    def __init__(
        self,
        backbone: Backbone,
        prototypes: int = 4096,
        hidden: int = 2048,
        bottleneck: int = 256,
        temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup_temperature: float | None = None,
        warmup_epochs: int = 0,
        momentum: float = 0.996,
        centre_momentum: float = 0.9,
        frozen_epochs: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        if not isinstance(backbone.input_spec, ImageSpec):
            raise ValueError(f"Dino crops images, and {type(backbone).__name__} reads texts")
        cold = teacher_temperature if warmup_temperature is None else warmup_temperature
        self.plan = TeacherSchedule(momentum, teacher_temperature, cold, warmup_epochs, frozen_epochs)
        self.loss = DinoLoss(prototypes, temperature, centre_momentum)
        for name, value in (("teacher_temperature", teacher_temperature), ("warmup_temperature", cold)):
            if value > temperature:
                raise ValueError(
                    f"{name} must be at most the student's temperature ({temperature}), got {value}: the teacher must "
                    "be the sharper one"
                )
        self.head = ProjectionHead(backbone.feature_dim, hidden, bottleneck, prototypes)
        self.teacher: Backbone | None = None
        self.teacher_head: ProjectionHead | None = None
        self.crops: Crops | None = None
        self._warm_from = 0  # the first step with a warm teacher
        self._resumed: dict[str, Any] = {}  # settings of the checkpoint that the run goes on with
        self._settings: dict[str, Any] = {
            "prototypes": prototypes,
            "hidden": hidden,
            "bottleneck": bottleneck,
            "temperature": temperature,
            "centre_momentum": centre_momentum,
            "teacher_temperature": teacher_temperature,
            "warmup_temperature": cold,
            "warmup_epochs": warmup_epochs,
            "momentum": momentum,
            "frozen_epochs": frozen_epochs,
        }

    @property
    def objective(self) -> str:
        """See `Pretraining`."""
        of = self.plan
        return f"DINO, {self.crops or 'two views'}, temperatures {self.loss.temperature:g} and {of.temperature:g}"

    @property
    def trained(self) -> Backbone:
        """The teacher, which is the better of the two (section 5.2 of the paper)."""
        return self.backbone if self.teacher is None else self.teacher

    # ---------------------------------------------------------------- before training

    def setup(self, stage: str) -> None:
        """See `Pretraining`.

        Raises:
            ValueError: also, the data module says that its crops are none that the backbone reads.
        """
        super().setup(stage)
        self.crops = Crops.of_data(self.trainer.datamodule)  # type: ignore[attr-defined]
        spec = self.backbone.input_spec
        if self.crops is not None and isinstance(spec, ImageSpec):
            self.crops.check(spec.image_size)
            for network in (self.backbone, self.teacher) if self.crops.local else ():
                if network is not None:
                    network.take_sizes([self.crops.local_size])
            if self.teacher is not None:  # of a fit before this one
                self.teacher.requires_grad_(False)

    def configure_model(self) -> None:
        """The teacher: a copy of what the student begins with."""
        if self.teacher is None:
            self.teacher = copy.deepcopy(self.backbone).requires_grad_(False)
            self.teacher_head = copy.deepcopy(self.head).requires_grad_(False)
            self.train(self.training)

    def train(self, mode: bool = True) -> Dino:
        """The teacher's BatchNorm layers go along; the rest of it stays in evaluation mode."""
        super().train(mode)
        for network in (self.teacher, self.teacher_head):
            for module in () if network is None else network.modules():
                module.training = mode and isinstance(module, _NORMS)
        return self

    def configure_optimizers(self) -> Optimizer:
        """See `Pretraining`.

        Raises:
            ValueError: a run without an end or that is shorter than the warm-up of the teacher, or numbers that are too
                coarse for the teacher's steps; before a probe reads its images.
        """
        if math.isinf(self.trainer.estimated_stepping_batches):
            raise ValueError("the teacher's momentum rises to the end of the run: set max_epochs or max_steps")
        kept = {parameter.dtype for parameter in self.parameters()}
        if kept & {torch.bfloat16, torch.float16}:
            raise ValueError(
                f"precision is {self.trainer.precision}, in which the teacher's small steps are rounded away: take "
                "bf16-mixed, or 32-true"
            )
        self.trainer.fit_loop.setup_data()
        self._plan_warm_up()
        return super().configure_optimizers()

    @property
    def _steps(self) -> int:
        return int(self.trainer.estimated_stepping_batches)

    def on_train_start(self) -> None:
        """Plan the teacher's warm-up again: another batch size may have been found."""
        super().on_train_start()
        self._plan_warm_up()

    def _plan_warm_up(self) -> None:
        per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        self._warm_from = self.plan.warm_from(self._steps, per_epoch)

    def _check_crops(self, crops: Crops) -> None:
        """Refuse a batch that holds others than were told, or than the batches before it."""
        if self.crops is None:
            crops.check(crops.local_size)
            if crops.local:
                raise ValueError(
                    f"a batch has local crops, of which {type(self.trainer.datamodule).__name__} says nothing: give it "  # type: ignore[attr-defined]
                    "the property crops, see CroppedData, by which the backbone is prepared"
                )
            check_resumed(self._resumed, {"crops": str(crops)})
            self.crops = crops
        if crops != self.crops:
            raise ValueError(f"a batch has {crops} of each image, and not {self.crops}: every batch must have the same")

    # ---------------------------------------------------------------- training

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch of `inputs` [batch, views, channels, height, width] and, of smaller crops, `local`."""
        self._check_crops(Crops.of_batch(batch))
        if len(batch["inputs"]) * self.trainer.world_size < 2:
            raise ValueError("a single image is its own centre, and every output would fade: use a batch of at least 2")
        views = batch["inputs"].transpose(0, 1)  # [views, batch, channels, height, width]
        count = views.shape[:2]
        with torch.no_grad():
            assert self.teacher is not None and self.teacher_head is not None, "made in configure_model"
            teacher = self.teacher_head(self.teacher(views.flatten(0, 1))).unflatten(0, count)
        features = [self.backbone(views.flatten(0, 1))]
        if self.crops is not None and self.crops.local:
            features.append(self.backbone(batch["local"].transpose(0, 1).flatten(0, 1)))
        student = self.head(torch.cat(features)).unflatten(0, (-1, count[1]))
        temperature = self.plan.temperature_at(self.global_step, self._warm_from)
        loss: Tensor = self.loss(student, teacher, temperature)
        self.log_training(loss, batch)
        if self.logs_now:
            self._log_measures(loss.detach(), student.detach(), teacher, temperature)
        self.loss.follow(self._mean(teacher))
        return loss

    def _mean(self, teacher: Tensor) -> Tensor:
        """Mean of the outputs [views, batch, prototypes] over all processes, whose batches may differ in length."""
        rows = teacher.float().flatten(0, 1)
        summed = torch.cat([rows.sum(0), rows.new_tensor([len(rows)])])
        everywhere = self.trainer.strategy.reduce(summed, reduce_op="sum")
        assert isinstance(everywhere, Tensor)
        return everywhere[:-1] / everywhere[-1]

    def _log_measures(self, loss: Tensor, student: Tensor, teacher: Tensor, temperature: float) -> None:
        probabilities = self.loss.probabilities(teacher, temperature)
        told = entropy(probabilities)
        views = student[: len(teacher)].float() / self.loss.temperature
        self.log_dict(
            {
                "teacher_entropy": told,
                "marginal_entropy": entropy(probabilities.mean((0, 1))),  # of this process's batch
                "student_entropy": entropy(views.softmax(-1)),
                "kl": loss - told,  # mean over the pairs of the loss: their cross-entropy less the teacher's entropy
                "centre_norm": self.loss.centre.norm(),
                "teacher_temperature": temperature,
                "teacher_momentum": self.plan.momentum_at(self.global_step, self._steps),
            },
            on_step=True,
        )

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave the prototypes as they are in the first epochs.

        After DDP has gathered the gradients, so that none is missing there; without one, they do not decay either.
        """
        if self.current_epoch < self.plan.frozen_epochs:
            self.head.prototypes.grad = None

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """A step of the student, then one of the teacher (section 3.1 of the paper)."""
        kept = self.plan.momentum_at(self.global_step, self._steps)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        assert self.teacher is not None and self.teacher_head is not None, "made in configure_model"
        teacher = [*self.teacher.parameters(), *self.teacher_head.parameters()]
        student = [*self.backbone.parameters(), *self.head.parameters()]
        get_ema_multi_avg_fn(kept)(teacher, student, None)  # type: ignore[no-untyped-call]

    # ---------------------------------------------------------------- checkpoints

    @property
    def resumed_settings(self) -> dict[str, Any]:
        """See `Pretraining`; with the crops of data that do not tell of them, once a batch has."""
        return self._settings | ({} if self.crops is None else {"crops": str(self.crops)})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `Pretraining`; crops that the data do not tell of are compared at the first batch."""
        super().on_load_checkpoint(checkpoint)
        self._resumed = checkpoint.get(KEPT, {})
