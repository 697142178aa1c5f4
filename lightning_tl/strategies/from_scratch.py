"""The baseline that says whether pretraining paid."""

from __future__ import annotations

from typing import Any

from lightning_tl.adaptation import Reinitialised
from lightning_tl.backbones.base import Backbone
from lightning_tl.module import TransferModule


class FromScratch(TransferModule):
    """The backbone's architecture with fresh weights, head and backbone at one rate.

    Args:
        backbone: only its architecture is used.
        lr: learning rate of the head and, unless `backbone_lr` is given, of the backbone.
        backbone_lr: learning rate of the backbone.
        **kwargs: as `TransferModule`.
    """

    def __init__(self, backbone: Backbone, lr: float = 1e-3, backbone_lr: float | None = None, **kwargs: Any) -> None:
        super().__init__(
            backbone, Reinitialised(), lr=lr, backbone_lr=lr if backbone_lr is None else backbone_lr, **kwargs
        )
