"""What DistributedDataParallel needs when other parameters begin to train."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel


def rebuild_ddp(trainer: pl.Trainer) -> None:
    """Build the DDP wrapper anew, if there is one.

    DDP ignores parameters that were frozen when it was built, and ranks then drift apart silently.
    """
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()
