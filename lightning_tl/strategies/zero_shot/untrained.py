"""`Untrained`: base of the strategies that train nothing and tell classes apart by what they are called."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from lightning_tl.adaptation import Frozen
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ClassificationBatch, TextSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.tasks import OneLabel
from lightning_tl.training.transfer_module import TransferModule


class Untrained(TransferModule):
    """Base: a frozen backbone and a head made from words. A fit is one look at the validation data and a checkpoint.

    Labels are used for scores alone. A subclass makes the head in `configure_head`, of `wordings`.

    Args:
        backbone: as of `TransferModule`.
        descriptions: what a class is, in words, by the class's name; default the name itself.
        templates: sentences around a description, each with `{}` where it goes.
        temperature: above 0, over which the softmax gives probabilities; kept in the summary's logged values.
        num_classes: taken from the data module when None.
    """

    def __init__(
        self,
        backbone: Backbone,
        descriptions: Mapping[str, str] | None,
        templates: Sequence[str],
        temperature: float,
        num_classes: int | None = None,
    ) -> None:
        if isinstance(templates, str) or not templates or not all(template.count("{}") == 1 for template in templates):
            raise ValueError(f"every template must have one {{}} where the description goes, got {list(templates)}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        super().__init__(backbone, Frozen(), num_classes)
        self.descriptions = {str(name): words for name, words in (descriptions or {}).items()}
        self.templates, self.temperature = tuple(templates), temperature
        self.automatic_optimization = False
        warnings.filterwarnings("ignore", message=".*`max_epochs` was not set")  # one epoch, whatever is set

    def wordings(self) -> list[str]:
        """Every class's description in every template, class by class: [classes * templates]."""
        described = [self.descriptions.get(name, name) for name in self.class_names]
        return [template.replace("{}", words) for words in described for template in self.templates]

    def description(self) -> RunDescription:
        """The account of a run that needs no training, and so no data to learn classes from.

        Raises:
            ValueError: without descriptions, which name the classes.
        """
        if not self.descriptions:
            raise ValueError(
                "which classes there are is not known: describe them with --model.descriptions={NAME: WORDS, …}"
            )
        return RunDescription(task="one label", class_names=tuple(self.descriptions))

    def prepare_data(self) -> None:
        """Comes before the data's own setup, whose messages know nothing of zero-shot.

        Raises:
            ValueError: images for a backbone that reads texts.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(self.backbone.input_spec, TextSpec) and hasattr(data, "image"):
            raise ValueError(
                f"{type(self).__name__} with {type(self.backbone).__name__} reads texts, but {type(data).__name__} "
                "has images; use lightning_tl.strategies.ZeroShot with lightning_tl.backbones.HuggingFaceCLIP"
            )

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.task.name != OneLabel.name:
            raise ValueError(
                f"{type(self).__name__} chooses one of several descriptions, so it is for one label a sample, but the "
                f"targets are {self.task.name}; train a LinearProbe for them"
            )
        if stage == "fit" and self.trainer.world_size > 1:
            raise ValueError(f"{type(self).__name__} trains nothing: use one device, got {self.trainer.world_size}")
        strangers = sorted(set(self.descriptions) - set(self.class_names))
        if strangers:
            raise ValueError(
                f"descriptions of classes that the data has not: {', '.join(strangers)}; it has "
                f"{', '.join(self.class_names[:10])}{', …' if len(self.class_names) > 10 else ''}"
            )

    def configure_optimizers(self) -> Optimizer | None:  # type: ignore[override]
        rank_zero_info(f"Zero-shot: nothing to train; probabilities at temperature {self.temperature:g}")
        warnings.filterwarnings("ignore", message=".*this fit will run with no optimizer")
        self.trainer.fit_loop.max_epochs = 1  # for a checkpoint, and the scores on validation
        self.trainer.limit_train_batches = 1
        self.trainer.check_val_every_n_epoch = 1
        return None

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        return None

    def on_test_epoch_end(self) -> None:
        self.log("test_temperature", self.temperature)  # beside the calibration error in the summary
