"""The baseline that says whether pretraining paid."""

from __future__ import annotations

from typing import Any

from lightning_tl.adaptation import Reinitialised
from lightning_tl.backbones.base import Backbone
from lightning_tl.training.transfer_module import TransferModule


class FromScratch(TransferModule):
    """The backbone's architecture with fresh weights, head and backbone at one rate.

    Args:
        backbone: only its architecture is used.
        **kwargs: as `TransferModule`; `backbone_lr` is `lr` by default.
    """

    def __init__(self, backbone: Backbone, **kwargs: Any) -> None:
        super().__init__(backbone, Reinitialised(), **kwargs)
