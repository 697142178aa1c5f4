"""Callbacks: what changes between epochs, and what is kept of a run."""

from lightning_tl.callbacks.checkpoint_io import SafeCheckpointIO
from lightning_tl.callbacks.discriminative_learning_rates import DiscriminativeLearningRates
from lightning_tl.callbacks.graceful_interrupt import GracefulInterrupt, TrainingInterrupted
from lightning_tl.callbacks.progress_lines import ProgressLines
from lightning_tl.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from lightning_tl.callbacks.resumable_checkpoint import ResumableCheckpoint

__all__ = [
    "DiscriminativeLearningRates",
    "GracefulInterrupt",
    "ProgressLines",
    "ProgressiveUnfreezing",
    "ResumableCheckpoint",
    "SafeCheckpointIO",
    "TrainingInterrupted",
]
