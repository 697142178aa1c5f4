"""Zero-shot classification: no training, classes are told apart by what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from lightning_tl.backbones import EmbedsTexts
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.heads import SimilarityHead
from lightning_tl.strategies.zero_shot.untrained import Untrained

_DEFAULT_TEMPERATURE = 0.05


class ZeroShot(Untrained):
    """A backbone compares each text or image with a description of each class; nothing is trained.

    A class's vector is the mean of its description in every template (as in CLIP: Radford et al., 2021, section
    3.1.4), and the probabilities are the softmax of the cosine similarities over `temperature`. How far they can be
    believed is measured: the report gives the expected calibration error. Labels are used for scores alone.

    Args:
        backbone: one that embeds texts beside its inputs: `HuggingFaceText` for texts, of a model whose similarities
            mean something, such as one of sentence-transformers; `HuggingFaceCLIP` for images.
        descriptions: what a class is, in words, by the class's name; default the name itself.
        templates: sentences around a description, each with `{}` where it goes: `a satellite photo of {}`.
        temperature: above 0; lower makes the probabilities surer of themselves and changes no prediction. Default the
            one CLIP's weights were trained to, and 0.05 for sentence encoders.
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
        if not isinstance(backbone, EmbedsTexts):
            raise ValueError(
                f"ZeroShot needs a backbone that embeds texts, such as lightning_tl.backbones.HuggingFaceText or "
                f"HuggingFaceCLIP; {type(backbone).__name__} does not"
            )
        if temperature is None:
            temperature = backbone.temperature or _DEFAULT_TEMPERATURE
        super().__init__(backbone, descriptions, templates, temperature, num_classes)

    @torch.no_grad()
    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        """The classes' vectors as a head."""
        backbone = self.backbone
        assert isinstance(backbone, EmbedsTexts)
        backbone.eval()
        features = nn.functional.normalize(backbone.embed_texts(self.wordings()), dim=1)
        vectors = features.view(num_classes, len(self.templates), feature_dim).mean(1)
        head = SimilarityHead(feature_dim, num_classes, self.temperature)
        head.weight.copy_(nn.functional.normalize(vectors, dim=1))
        return head.requires_grad_(False)
