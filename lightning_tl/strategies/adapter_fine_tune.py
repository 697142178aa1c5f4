"""Adapter fine-tuning: train small bottlenecks inside a frozen backbone with the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_tl.adaptation import Adapters
from lightning_tl.backbones.base import Backbone
from lightning_tl.training.transfer_module import TransferModule


class AdapterFineTune(TransferModule):
    """Train the head and a bottleneck behind every sublayer of the frozen backbone (Houlsby et al., 2019).

    The run folder's `model` holds adapters and head alone; `lightning_tl.adaptation.load_adapted` puts them into the
    backbone again, and refuses one with other weights.

    Args:
        backbone: a transformer.
        size: width of the bottlenecks.
        layers: see `lightning_tl.adaptation.Adapters`.
        **kwargs: as of `TransferModule`; `backbone_lr`, of the adapters, is `lr` by default.
    """

    def __init__(self, backbone: Backbone, size: int = 64, layers: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(backbone, Adapters(size, layers), **kwargs)
