"""A run's two-tower model with its weights, for everything that is known by now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_tl.callbacks import SafeCheckpointIO
from lightning_tl.retrieval import TwoTower

if TYPE_CHECKING:
    from datamodules import InteractionDataModule


def built_for_everything(module: TwoTower, data: InteractionDataModule, checkpoint: Path) -> InteractionDataModule:
    """Build the module for all events, and load its weights.

    Args:
        module: as the run's recipe builds it.
        data: the run's, not set up.
        checkpoint: with the weights.

    Returns:
        the data, set up.
    """
    data.take_everything()
    return built_for_windows(module, data, checkpoint)


def built_for_windows(module: TwoTower, data: InteractionDataModule, checkpoint: Path) -> InteractionDataModule:
    """As `built_for_everything`, with the events parted in time as in training."""
    data.setup()
    module.build(data)
    loaded = SafeCheckpointIO().load_checkpoint(checkpoint)
    module.on_load_checkpoint(loaded)
    module.load_state_dict(loaded["state_dict"])
    return data
