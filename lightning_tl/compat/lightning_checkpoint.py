"""`CheckpointParts`: the parts of Lightning's ModelCheckpoint, to be called in an order of one's own."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor


class CheckpointParts(ModelCheckpoint):
    """ModelCheckpoint whose parts can be called and replaced by public names; seen in lightning 2.6.6.

    Its own hooks decide when to write, and nothing public writes without them but keeps the scores as they do.
    """

    def candidates(self, trainer: pl.Trainer) -> dict[str, Tensor]:
        """The values by which checkpoints are judged and named (`_monitor_candidates`)."""
        return self._monitor_candidates(trainer)

    def write_best(self, trainer: pl.Trainer, candidates: dict[str, Tensor]) -> None:
        """Write a checkpoint where it is among the best by `candidates` (`_save_topk_checkpoint`)."""
        self._save_topk_checkpoint(trainer, candidates)

    def write_last(self, trainer: pl.Trainer, candidates: dict[str, Tensor]) -> None:
        """Write `last.ckpt` (`_save_last_checkpoint`)."""
        self._save_last_checkpoint(trainer, candidates)

    def remove(self, trainer: pl.Trainer, path: str) -> None:
        """Remove a checkpoint from the disk (ModelCheckpoint's own `_remove_checkpoint`)."""
        super()._remove_checkpoint(trainer, path)

    def let_go(self, trainer: pl.Trainer, path: str) -> None:
        """Called for a checkpoint that is no longer among the best; removes it, unless overridden."""
        self.remove(trainer, path)

    def skips(self, trainer: pl.Trainer) -> bool:
        """Whether nothing is written now (ModelCheckpoint's `_should_skip_saving_checkpoint`, unless overridden)."""
        return super()._should_skip_saving_checkpoint(trainer)

    def _remove_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        self.let_go(trainer, filepath)

    def _should_skip_saving_checkpoint(self, trainer: pl.Trainer) -> bool:
        return self.skips(trainer)
