"""Fine-tuning: train the pretrained backbone with the head."""

from __future__ import annotations

from lightning_tl.training.transfer_module import TransferModule


class FineTune(TransferModule):
    """Train everything, the backbone at a tenth of the head's rate.

    That is what `TransferModule` does by default. Pass `adaptation=TopGroups(n)` to train only the last layers,
    `layer_decay` below 1 for rates that fall towards the input, and add
    `lightning_tl.callbacks.ProgressiveUnfreezing` to thaw the backbone step by step.
    """
