"""LoRA fine-tuning: train low-rank changes of a frozen backbone with the head."""

from __future__ import annotations

from typing import Any

from lightning_tl.adaptation import LoRA
from lightning_tl.backbones.base import Backbone
from lightning_tl.strategies.arguments_of import arguments_of
from lightning_tl.training.transfer_module import TransferModule


class LoRAFineTune(TransferModule):
    """Train the head and, beside the backbone's frozen layers, changes of low rank (Hu et al., 2021).

    `TransferModule(backbone, LoRA(…), …)` in one: arguments are those of `lightning_tl.adaptation.LoRA`, its `dropout`
    called `lora_dropout`, and of `TransferModule`. The exported model is an ordinary one of its family: the changes are
    added to the layers. Beside it, in the folder `adapter`, lie the changes and the head alone, for PEFT (see
    `lightning_tl.backbones.load_peft_base`).
    """

    @arguments_of(LoRA, lora_dropout="dropout")
    def __init__(self, backbone: Backbone, adaptation: LoRA, **kwargs: Any) -> None:
        """Build the adaptation and hand it on.

        Args:
            backbone: as of `TransferModule`.
            adaptation: built from its own arguments, which are taken in its place.
            **kwargs: as of `TransferModule`; `backbone_lr`, of the changes, is `lr` by default.
        """
        super().__init__(backbone, adaptation, **kwargs)
