"""`open_bundle`: a bundle's model, in a process that need not have torch."""

from __future__ import annotations

from pathlib import Path

from lightning_tl.serving.answering import PredictingModel
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.onnx_predictor import OnnxPredictor


def open_bundle(folder: Path | str, threads: int = 1) -> PredictingModel:
    """The model of a bundle, ready to answer.

    Args:
        folder: that `lightning-tl export` wrote.
        threads: of one answer.

    Raises:
        FileNotFoundError: no bundle, or a file of it is missing.
        ValueError: it is damaged, was changed, or is of a later version.
    """
    folder = Path(folder)
    return OnnxPredictor(folder, Manifest.read(folder), threads)
