"""Prompt tuning: train tokens of the input of a frozen backbone with the head."""

from __future__ import annotations

from typing import Any

from lightning_tl.adaptation import Prompts, VisualPrompts
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import TextSpec
from lightning_tl.strategies.arguments_of import arguments_of
from lightning_tl.training.transfer_module import TransferModule


def _prompts(backbone: Backbone) -> type[Prompts] | type[VisualPrompts]:
    return Prompts if isinstance(backbone.input_spec, TextSpec) else VisualPrompts


class PromptTuning(TransferModule):
    """Train the head and virtual tokens beside those of a text or an image; the backbone stays as it is.

    For texts as Lester et al. (2021), for vision transformers as Jia et al. (2022):
    `TransferModule(backbone, Prompts(…), …)`, or with `VisualPrompts(…)`, in one. Arguments are theirs and those of
    `TransferModule`. The run folder's `model` holds tokens and head alone; `lightning_tl.adaptation.load_adapted` puts
    them into the backbone again, and refuses one with other weights.
    """

    @arguments_of(Prompts, VisualPrompts, choose=_prompts)
    def __init__(self, backbone: Backbone, adaptation: Prompts | VisualPrompts, **kwargs: Any) -> None:
        """Build the adaptation and hand it on; `text` is for texts, `deep` for images.

        Args:
            backbone: a text encoder, or a vision transformer with a class token.
            adaptation: built from its own arguments, which are taken in its place.
            **kwargs: as of `TransferModule`; `backbone_lr`, of the tokens, is `lr` by default.
        """
        super().__init__(backbone, adaptation, **kwargs)
