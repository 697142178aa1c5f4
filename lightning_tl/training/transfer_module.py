"""`TransferModule`: the LightningModule that every adaptation strategy is."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import Metric, MetricCollection

from lightning_tl.adaptation import Adaptation, Full
from lightning_tl.backbones.base import Backbone, take_input
from lightning_tl.backbones.dense import PixelDecoder
from lightning_tl.backbones.exporting.noted_task import note_task
from lightning_tl.backbones.heads import check_classes, classification_head, named_classes
from lightning_tl.contracts.batches import ClassificationBatch, StepOutput, batch_size, classification_batch
from lightning_tl.contracts.data import ClassificationData
from lightning_tl.contracts.layer_groups import HEAD, LayerGroup
from lightning_tl.tasks import OneLabel, Task, task_of
from lightning_tl.tasks.class_weights import ClassWeights
from lightning_tl.training.built_from import note_building
from lightning_tl.training.calibration import divided, outputs_of_step
from lightning_tl.training.compiled import compiled_in_place
from lightning_tl.training.noted_arguments import NotedArguments
from lightning_tl.training.parameter_groups import check_rates
from lightning_tl.training.pixel_heads import pixel_head, prepare_maps
from lightning_tl.training.schedules import Schedule
from lightning_tl.training.trained_module import OptimizerFactory, TrainedModule
from lightning_tl.training.training_groups import Tower


class TransferModule(NotedArguments, TrainedModule):
    """A backbone, a head, and the rules for training them; base of every strategy.

    What is learned (one label, several labels, values, labels of pixels) the data module says by its `task`. To learn
    something else, override `configure_loss`, `configure_metrics`, `configure_head` or `step`; the base logs, and
    checkpoints, learning rates, unfreezing and reports go on working.

    Args:
        backbone: from `lightning_tl.backbones`, or your own subclass of `Backbone`.
        adaptation: what of the backbone is trained; default everything.
        num_classes: outputs of the head; taken from the data module when None.
        lr: learning rate of the head.
        backbone_lr: learning rate of the backbone's last layer group; default `lr` times the adaptation's `rate`.
        layer_decay: each group's rate is this times the rate of the group after it, in (0, 1].
        weight_decay: not applied to biases, norms and other parameters with fewer than two dimensions, nor to
            class tokens and position embeddings.
        dropout: before the head's linear layers.
        head_hidden: width of a hidden layer in the head; None for a linear head.
        label_smoothing: in [0, 1).
        class_weights: factors of the classes in the loss: one for each in order; some by name, the others 1; or
            "balanced", by the inverse of their frequency in training. Of several labels: of a label where it holds.
        loss: in place of the task's own, called as `loss(logits, target)`; of values, with both standardised.
        task: what is learned; taken from the data module when None, and one label where that says nothing.
        decoder: of labels of pixels, how feature maps become classes; default a `PyramidDecoder`.
        schedule: how all rates move together.
        optimizer: builds the optimizer from parameter groups.
    """

    report: ClassVar[str] = "report"
    next_command: ClassVar[str] = "predict --run {run}"
    can_predict: ClassVar[bool] = True
    calibration_temperature: float | None = None  # by which `predict_step` divides logits

    def __init__(
        self,
        backbone: Backbone,
        adaptation: Adaptation | None = None,
        num_classes: int | None = None,
        lr: float = 1e-3,
        backbone_lr: float | None = None,
        layer_decay: float = 1.0,
        weight_decay: float = 0.05,
        dropout: float = 0.0,
        head_hidden: int | None = None,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | dict[str, float] | Literal["balanced"] | None = None,
        schedule: Schedule | None = None,
        optimizer: OptimizerFactory = AdamW,
        loss: nn.Module | None = None,
        task: Task | None = None,
        decoder: PixelDecoder | None = None,
    ) -> None:
        super().__init__(lr, layer_decay, weight_decay, schedule, optimizer)
        check_rates(lr, backbone_lr, layer_decay, weight_decay)
        check_classes(num_classes, label_smoothing)
        if loss is not None and (class_weights is not None or label_smoothing):
            raise ValueError("class_weights and label_smoothing are of the task's own loss: leave them out, or loss")
        self.backbone = backbone
        self.adaptation = adaptation or Full()
        self.num_classes = num_classes
        self.class_names: tuple[str, ...] = ()
        self._backbone_lr = backbone_lr
        self.dropout, self.head_hidden = dropout, head_hidden
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self._weights = ClassWeights(class_weights)
        self.decoder = decoder
        self._own_loss = (loss,)  # no submodule before it is used
        self._task_is_given, self.task = task is not None, task or OneLabel()
        self._task_is_known = task is not None
        self.head: nn.Module | None = None

    @property
    def backbone_lr(self) -> float:
        """Learning rate of the backbone's last layer group; follows `lr` where it was not given."""
        return self.lr * self.adaptation.rate if self._backbone_lr is None else self._backbone_lr

    @backbone_lr.setter
    def backbone_lr(self, rate: float | None) -> None:
        self._backbone_lr = rate

    # ---------------------------------------------------------------- what subclasses change

    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        """Features [batch, feature_dim] to logits [batch, num_classes]; of labels of pixels, what a decoder makes."""
        if self.task.dense:
            return pixel_head(self.backbone, self.decoder, num_classes, self.dropout)
        return classification_head(feature_dim, num_classes, self.head_hidden, self.dropout)

    def configure_loss(self) -> nn.Module:
        """A module called as `loss(logits, target)`; of values, with both standardised."""
        if (own := self._own_loss[0]) is not None:
            return own
        if self.num_classes is not None and self.num_classes < self.task.fewest:
            raise ValueError(
                f"one label of {self.num_classes} class can only be right: num_classes must be at least "
                f"{self.task.fewest}, or set another task or loss"
            )
        return self.task.loss(self._weights.tensor, self.label_smoothing)

    def configure_metrics(self, num_classes: int) -> dict[str, Metric]:
        """Metrics by name, logged as `val_<name>` and `test_<name>`.

        They are updated with the target and, of one label, the logits; of several labels, their probabilities; of
        values, these in their own units.
        """
        return self.task.metrics(num_classes)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits [batch, num_classes, …] to what is told of a sample, of the same shape: probabilities, or values."""
        return self.task.predictions(logits)

    def predictions(self, outputs: Any) -> dict[str, Tensor]:
        """What `forward` gave, by name, as it is written to files.

        Args:
            outputs: logits, which become `probabilities`; or those of several heads in a dictionary or tuple, which
                stay as they are: override this to make something of them.
        """
        if isinstance(outputs, Tensor):
            return {"probabilities": self.probabilities(outputs)}
        heads = outputs if isinstance(outputs, Mapping) else {f"output_{k}": part for k, part in enumerate(outputs)}
        return {str(name): part for name, part in heads.items()}

    def forward(self, inputs: Any) -> Tensor:
        """Inputs to logits [batch, num_classes]; of labels of pixels [batch, num_classes, height, width]."""
        assert self.head is not None, "the head is built in configure_model, which the Trainer calls"
        logits: Tensor = self.head(self.backbone.read(inputs))
        return logits

    def export(self, folder: Path) -> str:
        """Write the trained model for its family's own loader; returns the line of Python that reads it back."""
        assert self.head is not None, "the head is built in configure_model, which the Trainer calls"
        trained = {name.removeprefix("backbone.") for name in self.adapted_parameters if name.startswith("backbone.")}
        head = self.task.folded(self.head)
        line = self.adaptation.export(folder, self.backbone, head, self.class_names, trained)
        note_task(Path(folder), self.task)
        return line

    def step(self, batch: ClassificationBatch) -> StepOutput:
        """One forward pass and its loss; used for training, validation and test alike."""
        logits = self(batch["inputs"])
        target = self.task.shaped(batch["target"])
        return StepOutput(self.loss(logits, self.task.aim(target)), logits, target)

    # ---------------------------------------------------------------- building

    @property
    def task_name(self) -> str | None:
        """Of what is learned; None where a subclass makes something else of its outputs."""
        above = type(self).__mro__[: type(self).__mro__.index(TransferModule)]
        theirs = [kind for kind in above if not kind.__module__.startswith("lightning_tl.")]
        own = {"configure_loss", "probabilities", "step"} & set().union(*map(vars, theirs))
        return None if own and not self._task_is_known else self.task.name

    def describe(self) -> dict[str, Any]:
        """What its outputs are, for the description of a run."""
        name = self.task_name
        targets = {} if name is None else self.task.describe()
        return {"task": name, "class_names": self.class_names, "targets": targets}

    def _take_task(self, data: Any) -> None:
        """The data's, unless one was given or the head is built for one."""
        found = task_of(data)
        if found is None:
            return
        self._task_is_known = True
        if self.head is None and not self._task_is_given:
            self.task = copy.deepcopy(found)
        elif found.name != self.task.name:
            raise ValueError(
                f"the model's task is {self.task.name}, but the targets of {type(data).__name__} are {found.name}"
            )

    def setup(self, stage: str) -> None:
        """Take task, bands and classes from the data, and refuse, by ValueError, those that are not the model's."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._take_task(data)
        take_input(self.backbone, data)
        names = tuple(data.class_names) if isinstance(data, ClassificationData) else ()
        self.class_names = named_classes(names, self.num_classes)
        self.num_classes = len(self.class_names)
        self._weights.resolve(self.task, self.class_names, data)

    def __setattr__(self, name: str, value: Any) -> None:
        # torch.compile(module.backbone), assigned back: compiled in place, so that names and groups stay as they are.
        super().__setattr__(name, compiled_in_place(value))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how the module was built."""
        super().on_save_checkpoint(checkpoint)
        told = {"task": self.task} if self.task.dense else {}  # which decides what is built
        note_building(checkpoint, {**(self._given or {}), **told}, num_classes=self.num_classes)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take weights of classes back, where there are no data to count them."""
        if self._weights.take_back(checkpoint["state_dict"]):
            self.loss = self.configure_loss()
        super().on_load_checkpoint(checkpoint)

    def configure_model(self) -> None:
        """Build what depends on the data: head, loss, metrics."""
        if self.head is not None:
            return
        if self.num_classes is None:
            raise ValueError("num_classes must be set before the head can be built")
        self.task.check_outputs(self.num_classes)
        prepare_maps(self.task, self.backbone, self.decoder, self.head_hidden)
        self.adaptation.apply(self.backbone)
        self.head = self.configure_head(self.backbone.feature_dim, self.num_classes)
        self.loss = self.configure_loss()
        metrics = self.configure_metrics(self.num_classes)
        stages = {stage: MetricCollection(metrics, prefix=f"{stage}_").clone() for stage in ("val", "test")}  # type: ignore
        self.metrics = nn.ModuleDict(stages)
        self.begin_training_rules()

    def layer_groups(self) -> list[LayerGroup]:
        """The adapted backbone's groups, then `head`, ordered from input to output."""
        modules = () if self.head is None else (self.head,)
        head = frozenset(f"head.{name}" for module in modules for name, _ in module.named_parameters())
        return [*self.towers()[0].layer_groups(), LayerGroup(HEAD, head, modules)]

    def towers(self) -> list[Tower]:
        """The backbone with its adaptation."""
        return [Tower("backbone", self.backbone, self.adaptation, self.backbone_lr)]

    # ---------------------------------------------------------------- steps: hooks compute, the base logs

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One batch's loss, logged."""
        batch = classification_batch(batch)
        output = self.step(batch)
        self.log_training(output.loss, batch)
        return output.loss

    def _evaluate(self, batch: Any, stage: str) -> dict[str, Tensor]:
        batch = classification_batch(batch)
        output = self.step(batch)
        metrics = self.metrics[stage]
        assert isinstance(metrics, MetricCollection)
        metrics.update(self.task.scored(output.predictions), output.target)
        size = batch_size(batch)
        self.log(f"{stage}_loss", output.loss, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=size)
        self.log_dict(dict(metrics.items(keep_base=False)), on_epoch=True, prog_bar=True, batch_size=size)
        return self._numbered(batch, outputs_of_step(self, output))

    @staticmethod
    def _numbered(batch: ClassificationBatch, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs of a step, with the samples' numbers where the batch has them."""
        return {"index": batch["index"], **outputs} if "index" in batch else outputs

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """One batch of the validation split."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """One batch of the test split."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """One batch without labels, to columns by name."""
        batch = classification_batch(batch, labelled=False)
        return self._numbered(batch, self.predictions(divided(self(batch["inputs"]), self.calibration_temperature)))
