"""LoRA fine-tuning: train low-rank changes of a frozen backbone with the head."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_tl.adaptation import LoRA, merge_lora
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.peft_folder import write_peft_folder
from lightning_tl.module import TransferModule


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
        lr: of the head, and of the changes unless `backbone_lr` says otherwise.
        backbone_lr: of the changes.
        **kwargs: as of `TransferModule`.
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
        lr: float = 1e-3,
        backbone_lr: float | None = None,
        **kwargs: Any,
    ) -> None:
        adaptation = LoRA(r, alpha, targets, lora_dropout, rslora, dora)
        super().__init__(backbone, adaptation, lr=lr, backbone_lr=lr if backbone_lr is None else backbone_lr, **kwargs)

    def export(self, folder: Path) -> str:
        """Write the model with the changes added to its layers, and beside it the folder `adapter` for PEFT.

        See `TransferModule`.
        """
        assert self.head is not None
        assert isinstance(self.adaptation, LoRA)
        write_peft_folder(folder.parent / "adapter", self.adaptation.config, self.backbone, self.head, self.class_names)
        merged = copy.deepcopy(self.backbone)
        merge_lora(merged)
        return merged.export(folder, self.head, self.class_names)
