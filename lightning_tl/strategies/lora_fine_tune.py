"""LoRA fine-tuning: train low-rank changes of a frozen backbone with the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_tl.adaptation import LoRA
from lightning_tl.backbones.base import Backbone
from lightning_tl.training.transfer_module import TransferModule


class LoRAFineTune(TransferModule):
    """Train the head and, beside the backbone's frozen layers, changes of low rank (Hu et al., 2021).

    The exported model is an ordinary one of its family: the changes are added to the layers. Beside it, in the folder
    `adapter`, lie the changes and the head alone, for PEFT (see `lightning_tl.backbones.load_peft_base`).

    Args:
        backbone: as of `TransferModule`.
        r: rank of the changes.
        alpha: their scale.
        targets: layers to change, see `lightning_tl.adaptation.LoRA`; default those of queries and values.
        lora_dropout: of the layers' input on its way into the changes.
        rslora: scale by alpha / sqrt(r).
        dora: learn the length of each row apart from its direction.
        **kwargs: as of `TransferModule`; `backbone_lr`, of the changes, is `lr` by default.
    """

    def __init__(
        self,
        backbone: Backbone,
        r: int = 8,
        alpha: float = 16,
        targets: str | Sequence[str] | None = None,
        lora_dropout: float = 0.0,
        rslora: bool = False,
        dora: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, LoRA(r, alpha, targets, lora_dropout, rslora, dora), **kwargs)
