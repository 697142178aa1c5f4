"""`TorchPredictor`: answers of a run's module by torch, where no graph of it can be written."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_tl.bundling.card import card_facts
from lightning_tl.bundling.run_text_reader import RunTextReader
from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.serving.answering import BadInputError, ModelFacts, Predictions
from lightning_tl.serving.bundle.manifest import file_sha256
from lightning_tl.serving.models.image_reader import ImageReader
from lightning_tl.serving.models.raster_reader import image_reader
from lightning_tl.training.transfer_module import TransferModule


class TorchPredictor:
    """A classifier or regressor that answers by the `predict_step` of its module; see `PredictingModel`.

    Args:
        module: of the run, with its weights, see `trained_module`.
        description: of the run.
        run: its folder.
        reads: what `reads_of` says of its inputs.
        temperature: that the run fitted for these weights.
        checkpoint: where the weights come from.
        why: no graph answers in its place.

    Raises:
        ValueError: its outputs are no probabilities or values of the run's classes.
    """

    def __init__(
        self,
        module: TransferModule,
        description: RunDescription,
        run: Path,
        reads: tuple[str, Mapping[str, Any]],
        temperature: float | None,
        checkpoint: Path,
        why: str,
    ) -> None:
        self.module, self.temperature = module.eval(), temperature
        kind, told = reads
        spec = module.backbone.input_spec
        self.reader: Any = image_reader(told) if isinstance(spec, ImageSpec) else _text_reader(spec, told, kind)
        weights = {"name": checkpoint.name, "sha256": file_sha256(checkpoint)}
        depends = [asdict(description), told, temperature, weights, type(module).__qualname__]
        self.facts = ModelFacts(
            kind=kind,  # type: ignore[arg-type]
            version=hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest(),
            task=str(description.task),
            class_names=description.class_names,
            reads=told,
            card={**card_facts(run, description, module), "checkpoint": weights, "by": "torch", "no_graph": why},
        )
        self._features: list[Tensor] = []
        module.backbone.register_forward_hook(self._keep)
        self._lock = threading.Lock()  # the module keeps temperature and features between its steps

    def _keep(self, backbone: nn.Module, given: Any, found: Tensor) -> None:
        self._features.append(found)

    def prepare(self, raw: bytes | str | tuple[str, str]) -> Any:
        """See `PredictingModel`."""
        return self.reader.prepare(raw)

    def predict(self, prepared: Sequence[Any], calibrated: bool = True) -> Predictions:
        """See `PredictingModel`."""
        if len(prepared) == 0:
            raise BadInputError("there is nothing to predict: 0 samples", 400)
        groups = self.reader.groups(prepared) if isinstance(self.reader, RunTextReader) else [range(len(prepared))]
        with self._lock, torch.inference_mode():
            self.module.calibration_temperature = self.temperature if calibrated else None
            parts = [self._run([prepared[place] for place in group]) for group in groups]
        back = np.argsort([place for group in groups for place in group], kind="stable")
        outputs, features = (np.concatenate(part)[back] for part in zip(*parts, strict=True))
        return Predictions(outputs, features)

    def _run(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        fed = {name: torch.from_numpy(value) for name, value in self.reader.feeds(prepared).items()}
        inputs: Any = fed["inputs"] if isinstance(self.reader, ImageReader) else fed
        self._features.clear()
        found = self.module.predict_step({"inputs": inputs}, 0)
        outputs = found.get("probabilities")
        if outputs is None or tuple(outputs.shape) != (len(prepared), len(self.facts.class_names)):
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in found.items())
            raise ValueError(
                f"{type(self.module).__name__} gives {shapes or 'nothing'} for {len(prepared)} samples, and a service "
                f"tells probabilities or values of {len(self.facts.class_names)} classes: answer with predict --run"
            )
        features = self._features[-1] if self._features else self.module.backbone(inputs)
        self._features.clear()
        return outputs.float().numpy(), features.flatten(1).float().numpy()


def _text_reader(spec: object, told: Mapping[str, Any], kind: str) -> RunTextReader:
    assert isinstance(spec, TextSpec)
    return RunTextReader(spec, told, kind == "pairs")
