"""Zero-shot classification: no training, classes are told apart by what they are called."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_tl.adaptation import Frozen
from lightning_tl.backbones import EmbedsTexts, HuggingFaceNLI
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.heads import SimilarityHead, TemplateMean
from lightning_tl.contracts.batches import ClassificationBatch, TextSpec
from lightning_tl.contracts.data import ShownImages, TextColumns
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.tasks import OneLabel
from lightning_tl.training.transfer_module import TransferModule

_DEFAULT_TEMPERATURE = 0.05


class ZeroShot(TransferModule):
    """A backbone compares each text or image with a description of each class; nothing is trained.

    A class's vector is the mean of its description in every template (as in CLIP: Radford et al., 2021, section
    3.1.4), and the probabilities are the softmax of the cosine similarities over `temperature`. How far they can be
    believed is measured: the report gives the expected calibration error. Labels are used for scores alone: a fit is
    one look at the validation data and a checkpoint, and test and prediction need none.

    Args:
        backbone: one that embeds texts beside its inputs: `HuggingFaceText` for texts, of a model whose similarities
            mean something, such as one of sentence-transformers; `HuggingFaceCLIP` for images. Or `HuggingFaceNLI`,
            see `ZeroShotNLI`.
        descriptions: what a class is, in words, by the class's name; default the name itself.
        templates: sentences around a description, each with `{}` where it goes: `a satellite photo of {}`.
        temperature: above 0; lower makes the probabilities surer of themselves and changes no prediction; kept in the
            summary's logged values. Default the one CLIP's weights were trained to, 0.05 for sentence encoders, and 1
            for models of natural-language inference.
        num_classes: taken from the data module when None.
    """

    def __init__(
        self,
        backbone: Backbone,
        descriptions: Mapping[str, str] | None = None,
        templates: Sequence[str] = ("{}",),
        temperature: float | None = None,
        num_classes: int | None = None,
    ) -> None:
        if not isinstance(backbone, EmbedsTexts | HuggingFaceNLI):
            raise ValueError(
                f"ZeroShot needs a backbone that embeds texts, such as lightning_tl.backbones.HuggingFaceText or "
                f"HuggingFaceCLIP; {type(backbone).__name__} does not"
            )
        if isinstance(templates, str) or not templates or not all(template.count("{}") == 1 for template in templates):
            raise ValueError(f"every template must have one {{}} where the description goes, got {list(templates)}")
        if temperature is None:
            own = backbone.temperature if isinstance(backbone, EmbedsTexts) else 1.0
            temperature = own or _DEFAULT_TEMPERATURE
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
            ValueError: images for a backbone that reads texts, or two texts for one that makes pairs itself.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(self.backbone.input_spec, TextSpec) and isinstance(data, ShownImages):
            raise ValueError(
                f"{type(self).__name__} with {type(self.backbone).__name__} reads texts, but {type(data).__name__} "
                "has images; use lightning_tl.strategies.ZeroShot with lightning_tl.backbones.HuggingFaceCLIP"
            )
        columns = data.text if isinstance(data, TextColumns) else ()
        if isinstance(self.backbone, HuggingFaceNLI) and isinstance(columns, list) and len(columns) > 1:
            raise ValueError(
                f"{type(self).__name__} makes pairs of a text and a hypothesis itself, so text must be one column, got "
                f"{', '.join(columns)}; join them into one"
            )

    def setup(self, stage: str) -> None:
        """Take the classes.

        Raises:
            ValueError: the task is another than one label, or the descriptions do not fit the classes.
        """
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

    def configure_model(self) -> None:
        """Ask a model of inference about the classes, where the backbone is one; then as the base."""
        if self.head is None and isinstance(self.backbone, HuggingFaceNLI):
            self.backbone.ask(self.wordings())
        super().configure_model()

    @torch.no_grad()
    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        """The classes' vectors as a head; of natural-language inference, the mean of the templates' logits."""
        backbone = self.backbone
        if isinstance(backbone, HuggingFaceNLI):
            return TemplateMean(num_classes, len(self.templates), self.temperature)
        assert isinstance(backbone, EmbedsTexts)
        backbone.eval()
        features = nn.functional.normalize(backbone.embed_texts(self.wordings()), dim=1)
        vectors = features.view(num_classes, len(self.templates), feature_dim).mean(1)
        head = SimilarityHead(feature_dim, num_classes, self.temperature)
        head.weight.copy_(nn.functional.normalize(vectors, dim=1))
        return head.requires_grad_(False)

    def configure_optimizers(self) -> Optimizer | None:  # type: ignore[override]
        """None: nothing is trained."""
        rank_zero_info(f"Zero-shot: nothing to train; probabilities at temperature {self.temperature:g}")
        warnings.filterwarnings("ignore", message=".*this fit will run with no optimizer")
        self.trainer.fit_loop.max_epochs = 1  # for a checkpoint, and the scores on validation
        self.trainer.limit_train_batches = 1
        self.trainer.check_val_every_n_epoch = 1
        return None

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        """Nothing: nothing is trained."""
        return None

    def on_test_epoch_end(self) -> None:
        """Log the temperature, beside the calibration error."""
        self.log("test_temperature", self.temperature)  # beside the calibration error in the summary
