"""Numbers that judge predictions: intervals, calibration, scores per class."""

from lightning_tl.metrics.block_bootstrap import BootstrapInterval, bootstrap_difference, bootstrap_mean
from lightning_tl.metrics.calibration import expected_calibration_error
from lightning_tl.metrics.class_scores import ClassScores, class_scores, confusion_counts, macro_f1

__all__ = [
    "BootstrapInterval",
    "ClassScores",
    "bootstrap_difference",
    "bootstrap_mean",
    "class_scores",
    "confusion_counts",
    "expected_calibration_error",
    "macro_f1",
]
