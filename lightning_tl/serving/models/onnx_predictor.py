"""`OnnxPredictor`: answers of a bundle by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lightning_tl.serving.answering import BadInputError, ModelFacts, Predictions
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.image_reader import ImageReader
from lightning_tl.serving.models.text_reader import TextReader

GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"


class OnnxPredictor:
    """A classifier or regressor of images or texts; see `PredictingModel`.

    Args:
        folder: of the bundle.
        manifest: that it has.
        threads: of one answer; several answers may be computed at the same time.

    Raises:
        ValueError: ONNX Runtime does not open the graph.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int = 1) -> None:
        self.manifest = manifest
        self.facts = ModelFacts(
            kind=manifest.kind,  # type: ignore[arg-type]
            version=manifest.version,
            task=manifest.task,
            class_names=manifest.class_names,
            reads=manifest.reads,
            card=manifest.card,
        )
        self.reader: Any = (
            ImageReader(manifest.reads)
            if manifest.kind == "images"
            else TextReader(folder / TOKENIZER, manifest.reads, manifest.kind == "pairs")
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(folder / GRAPH), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own types derive from Exception alone
            raise ValueError(
                f"ONNX Runtime {onnxruntime.__version__} does not open {folder / GRAPH}: {error}"
            ) from None

    def prepare(self, raw: bytes | str | tuple[str, str]) -> Any:
        """See `PredictingModel`."""
        return self.reader.prepare(raw)

    def predict(self, prepared: Sequence[Any], calibrated: bool = True) -> Predictions:
        """See `PredictingModel`."""
        if len(prepared) == 0:
            raise BadInputError("there is nothing to predict: 0 samples", 400)
        groups = self.reader.groups(prepared) if isinstance(self.reader, TextReader) else [range(len(prepared))]
        parts = [self._run([prepared[place] for place in group]) for group in groups]
        back = np.argsort([place for group in groups for place in group], kind="stable")
        outputs, features = (np.concatenate(part)[back] for part in zip(*parts, strict=True))
        temperature = self.manifest.temperature if calibrated else None
        return Predictions(activated(outputs, self.manifest.activation, temperature), features)

    def _run(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs, features = self.session.run(["outputs", "features"], self.reader.feeds(prepared))
        return outputs, features


def activated(outputs: NDArray[np.float32], activation: str, temperature: float | None) -> NDArray[np.float32]:
    """Outputs [samples, outputs] as they are told.

    Args:
        outputs: logits, or values.
        activation: "softmax", "sigmoid" or "none".
        temperature: by which logits are divided.
    """
    if activation == "none":
        return outputs
    logits = outputs.astype(np.float64) / (temperature or 1.0)
    if activation == "sigmoid":
        shares = 1 / (1 + np.exp(-logits.clip(-700, 700)))
    else:
        numbers = np.exp(logits - logits.max(1, keepdims=True))
        shares = numbers / numbers.sum(1, keepdims=True)
    found: NDArray[np.float32] = shares.astype(np.float32)
    return found
