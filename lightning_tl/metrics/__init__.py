"""Numbers that judge predictions: intervals, calibration, scores per class."""

from lightning_tl.metrics.block_bootstrap import BootstrapInterval, bootstrap_difference, bootstrap_mean
from lightning_tl.metrics.calibration import expected_calibration_error
from lightning_tl.metrics.class_scores import ClassScores, class_scores, confusion_counts, macro_f1
from lightning_tl.metrics.label_f1 import label_f1
from lightning_tl.metrics.sum_bootstrap import bootstrap_scores, mean_interval
from lightning_tl.metrics.value_scores import value_scores

__all__ = [
    "BootstrapInterval",
    "ClassScores",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_scores",
    "class_scores",
    "confusion_counts",
    "expected_calibration_error",
    "label_f1",
    "macro_f1",
    "mean_interval",
    "value_scores",
]
