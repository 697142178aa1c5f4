"""Adapter fine-tuning: train small bottlenecks inside a frozen backbone with the head."""

from __future__ import annotations

from typing import Any

from lightning_tl.adaptation import Adapters
from lightning_tl.backbones.base import Backbone
from lightning_tl.strategies.arguments_of import arguments_of
from lightning_tl.training.transfer_module import TransferModule


class AdapterFineTune(TransferModule):
    """Train the head and a bottleneck behind every sublayer of the frozen backbone (Houlsby et al., 2019).

    `TransferModule(backbone, Adapters(…), …)` in one: arguments are those of `lightning_tl.adaptation.Adapters` and of
    `TransferModule`. The run folder's `model` holds adapters and head alone; `lightning_tl.adaptation.load_adapted`
    puts them into the backbone again, and refuses one with other weights.
    """

    @arguments_of(Adapters)
    def __init__(self, backbone: Backbone, adaptation: Adapters, **kwargs: Any) -> None:
        """Build the adaptation and hand it on.

        Args:
            backbone: a transformer.
            adaptation: built from its own arguments, which are taken in its place.
            **kwargs: as of `TransferModule`; `backbone_lr`, of the adapters, is `lr` by default.
        """
        super().__init__(backbone, adaptation, **kwargs)
