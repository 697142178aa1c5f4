"""Zero-shot classification: no training, classes are told apart by what they are called."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_tl.adaptation import Frozen
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.batches import ClassificationBatch
from lightning_tl.heads import SimilarityHead
from lightning_tl.module import TransferModule


class ZeroShot(TransferModule):
    """A sentence encoder compares each text with a description of each class; nothing is trained.

    A class's vector is the mean of its description in every template (as in CLIP: Radford et al., 2021, section
    3.1.4), and the probabilities are the softmax of the cosine similarities over `temperature`. How far they can be
    believed is measured: the report gives the expected calibration error. Labels are used for scores alone.

    Args:
        backbone: a text encoder whose similarities mean something, such as a sentence-transformers model.
        descriptions: what a class is, in words, by the class's name; default the name itself.
        templates: sentences around a description, each with `{}` where it goes.
        temperature: above 0; lower makes the probabilities surer of themselves and changes no prediction.
        num_classes: taken from the data module when None.
    """

    def __init__(
        self,
        backbone: HuggingFaceText,
        descriptions: Mapping[str, str] | None = None,
        templates: Sequence[str] = ("{}",),
        temperature: float = 0.05,
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

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.trainer.world_size > 1:
            raise ValueError(f"ZeroShot trains nothing: use one device, got {self.trainer.world_size}")
        strangers = sorted(set(self.descriptions) - set(self.class_names))
        if strangers:
            raise ValueError(
                f"descriptions of classes that the data has not: {', '.join(strangers)}; it has "
                f"{', '.join(self.class_names[:10])}{', …' if len(self.class_names) > 10 else ''}"
            )

    @torch.no_grad()
    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        """The classes' vectors as a head."""
        backbone = self.backbone
        assert isinstance(backbone, HuggingFaceText)
        backbone.eval()
        vectors = []
        for name in self.class_names:
            words = self.descriptions.get(name, name)
            features = backbone(backbone.tokenize([template.replace("{}", words) for template in self.templates]))
            vectors.append(nn.functional.normalize(features, dim=1).mean(0))
        head = SimilarityHead(feature_dim, num_classes, self.temperature)
        head.weight.copy_(nn.functional.normalize(torch.stack(vectors), dim=1))
        return head.requires_grad_(False)

    def configure_optimizers(self) -> Optimizer | None:  # type: ignore[override]
        rank_zero_info(f"Zero-shot: nothing to train; probabilities at temperature {self.temperature:g}")
        warnings.filterwarnings("ignore", message=".*this fit will run with no optimizer")
        self.trainer.fit_loop.max_epochs = 1  # for a checkpoint, and the scores on validation
        self.trainer.limit_train_batches = 1
        self.trainer.check_val_every_n_epoch = 1
        return None

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        return None
