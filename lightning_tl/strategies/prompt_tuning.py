"""Prompt tuning: train tokens of the input of a frozen backbone with the head."""

from __future__ import annotations

from typing import Any

from lightning_tl.adaptation import Prompts, VisualPrompts
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import TextSpec
from lightning_tl.training.transfer_module import TransferModule


class PromptTuning(TransferModule):
    """Train the head and virtual tokens beside those of a text or an image; the backbone stays as it is.

    For texts as Lester et al. (2021), for vision transformers as Jia et al. (2022). The run folder's `model` holds
    tokens and head alone; `lightning_tl.adaptation.load_adapted` puts them into the backbone again, and refuses one
    with other weights.

    Args:
        backbone: a text encoder, or a vision transformer with a class token.
        tokens: how many.
        text: of a text encoder: whose words the tokens start from.
        deep: of a vision transformer: fresh tokens for every block, which is the default.
        **kwargs: as of `TransferModule`; `backbone_lr`, of the tokens, is `lr` by default.
    """

    def __init__(
        self, backbone: Backbone, tokens: int = 20, text: str | None = None, deep: bool | None = None, **kwargs: Any
    ) -> None:
        reads_text = isinstance(backbone.input_spec, TextSpec)
        if text is not None and not reads_text:
            raise ValueError("prompts for images start from no text: leave text out")
        if deep is not None and reads_text:
            raise ValueError(f"deep is for images, got {deep} with {type(backbone).__name__}: leave it out")
        adaptation = Prompts(tokens, text) if reads_text else VisualPrompts(tokens, deep is not False)
        super().__init__(backbone, adaptation, **kwargs)
