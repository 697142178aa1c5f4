"""Callbacks: what changes between epochs, and what is kept of a run."""

from lightning_tl.callbacks.discriminative_learning_rates import DiscriminativeLearningRates
from lightning_tl.callbacks.progress_lines import ProgressLines
from lightning_tl.callbacks.resuming.checkpoint_io import SafeCheckpointIO
from lightning_tl.callbacks.resuming.graceful_interrupt import GracefulInterrupt, TrainingInterrupted
from lightning_tl.callbacks.resuming.resumable_checkpoint import ResumableCheckpoint
from lightning_tl.callbacks.run_report import RunReport
from lightning_tl.callbacks.unfreezing.progressive_unfreezing import ProgressiveUnfreezing

__all__ = [
    "DiscriminativeLearningRates",
    "GracefulInterrupt",
    "ProgressLines",
    "ProgressiveUnfreezing",
    "ResumableCheckpoint",
    "RunReport",
    "SafeCheckpointIO",
    "TrainingInterrupted",
]
