"""`OnnxPredictor`: answers of a bundle by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.serving.answering import BadInputError, ModelFacts, Predictions
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.raster_reader import image_reader
from lightning_tl.serving.models.shared_sessions import SharedSessions, Weights, opened
from lightning_tl.serving.models.text_reader import TextReader

GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"


class OnnxPredictor:
    """A classifier or regressor of images or texts; see `PredictingModel`.

    Args:
        folder: of the bundle.
        manifest: that it has.
        threads: of one answer; several answers may be computed at the same time.
        sessions: shared with other models over the same frozen backbone; None for one of its own.

    Raises:
        ValueError: ONNX Runtime does not open the graph.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, threads: int = 1, sessions: SharedSessions | None = None
    ) -> None:
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
            image_reader(manifest.reads)
            if manifest.kind == "images"
            else TextReader(folder / TOKENIZER, manifest.reads, manifest.kind == "pairs")
        )
        base = manifest.card.get("shared_base")
        if sessions is None or base is None:
            self.session, self.fixed = opened(folder / GRAPH, threads), Weights()
        else:
            self.session, self.fixed = sessions.open(folder, GRAPH, str(base), threads)

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
        outputs, features = self.session.run(["outputs", "features"], {**self.reader.feeds(prepared), **self.fixed})
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
