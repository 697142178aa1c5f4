"""Numbers that judge predictions: intervals, calibration, scores per class."""

from lightning_tl.metrics.block_bootstrap import BootstrapInterval, bootstrap_difference, bootstrap_mean
from lightning_tl.metrics.calibration import (
    ReliabilityBin,
    confidence_of,
    expected_calibration_error,
    labels_calibration_error,
    reliability_bins,
)
from lightning_tl.metrics.class_scores import ClassScores, class_scores, confusion_counts, macro_f1
from lightning_tl.metrics.label_f1 import label_f1
from lightning_tl.metrics.pixel_scores import class_iou, confusion_of_pixels, mean_iou, miou_difference, pixel_scores
from lightning_tl.metrics.sum_bootstrap import bootstrap_scores, mean_interval
from lightning_tl.metrics.temperature import NotFittedError, Temperature, fit_temperature, tempered
from lightning_tl.metrics.value_scores import value_scores

__all__ = [
    "BootstrapInterval",
    "ClassScores",
    "NotFittedError",
    "ReliabilityBin",
    "Temperature",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_scores",
    "class_iou",
    "class_scores",
    "confidence_of",
    "confusion_counts",
    "confusion_of_pixels",
    "expected_calibration_error",
    "fit_temperature",
    "label_f1",
    "labels_calibration_error",
    "macro_f1",
    "mean_interval",
    "mean_iou",
    "miou_difference",
    "pixel_scores",
    "reliability_bins",
    "tempered",
    "value_scores",
]
