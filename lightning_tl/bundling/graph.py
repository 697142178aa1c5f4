"""The ONNX graph of a trained module: inputs to logits (or values) and features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_tl.backbones import Tfidf
from lightning_tl.backbones.base import Backbone
from lightning_tl.bundling.counted_words import CountedWords
from lightning_tl.bundling.traced import traced, why
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.training.transfer_module import TransferModule

TOLERANCE = 1e-4  # of outputs, in units of the largest of them where that is above 1
_COUNTS = (1, 3, 8)  # batches that are compared


class _Whole(nn.Module):
    """Backbone and head as one call with plain tensors."""

    def __init__(self, backbone: Any, head: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.backbone, self.head, self.names = backbone, head, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        fed: Any = inputs[0] if self.names == ("inputs",) else dict(zip(self.names, inputs, strict=True))
        features = self.backbone(fed)
        return self.head(features), features


def write_graph(module: TransferModule, path: Path, share: bool = False) -> tuple[float, dict[str, NDArray[Any]]]:
    """Write the graph, with any number of samples and tokens, and compare its answers with torch's.

    Args:
        module: with its weights, in evaluation mode.
        path: of the `.onnx` file.
        share: whether weights that were trained may be exchanged, where most of the model is frozen.

    Returns:
        the largest difference to torch, and by name the weights that may be exchanged.

    Raises:
        ValueError: the module computes what cannot be written as a graph, or the graph answers otherwise.
    """
    name = type(module).__name__
    if type(module).forward is not TransferModule.forward or module.head is None:
        raise ValueError(f"{name} makes its answers in a way of its own (forward), which is not exported as a graph")
    for own in ("probabilities", "predictions", "predict_step"):
        if not getattr(type(module), own).__module__.startswith("lightning_tl."):
            raise ValueError(f"{name} has {own} of its own, which a bundle cannot hold: answer with predict --run")
    if getattr(module.backbone, "by_length", False):
        raise ValueError(
            f"{type(module.backbone).__name__} of this family reads texts of one length at a time, which a graph cannot"
        )
    whole = _Whole(module.backbone, module.task.folded(module.head), _names(module.backbone)).eval()
    try:
        exchanged = _export(whole, path, _trained(module) if share else [])
    except Exception as error:
        raise ValueError(
            f"{name} on {type(module.backbone).__name__} cannot be written as a graph: {why(error)}"
        ) from error
    difference = _difference(whole, path)
    if not difference <= TOLERANCE:
        path.unlink()
        raise ValueError(
            f"the graph of {name} on {type(module.backbone).__name__} gives other answers than torch (by "
            f"{difference:.2g}, {TOLERANCE:g} is allowed): it is not written"
        )
    return difference, exchanged


def _trained(module: TransferModule) -> list[Tensor]:
    """The weights that are not frozen, where they are the smaller part; else nothing is worth sharing."""
    weights: list[Tensor] = list(module.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    few = 2 * sum(weight.numel() for weight in trained) < sum(weight.numel() for weight in weights)
    return trained if few else []


def _names(backbone: Backbone) -> tuple[str, ...]:
    spec = backbone.input_spec
    if isinstance(spec, ImageSpec):
        return ("inputs",)
    return ("input_ids", "attention_mask", *(("token_type_ids",) if spec.segments else ()))


def _fed(whole: _Whole, count: int, tokens: int) -> tuple[Tensor, ...]:
    """Made-up inputs; texts are of different lengths, and their last tokens a second text."""
    if isinstance(whole.backbone.input_spec, ImageSpec):
        return (whole.backbone.example_inputs(count),)
    found: dict[str, Tensor] = whole.backbone.example_inputs(count, tokens)
    places = torch.arange(found["input_ids"].shape[1])
    lengths = torch.tensor([max(3, len(places) - 2 * row) for row in range(count)])
    found["attention_mask"] = (places < lengths[:, None]).long()
    found["token_type_ids"] = found["attention_mask"] * (places >= len(places) // 2).long()
    return tuple(found[name] for name in whole.names)


def _export(whole: _Whole, path: Path, trained: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=3)
    images = whole.names == ("inputs",)
    shapes = (({0: batch} if images else {0: batch, 1: length}),) * len(whole.names)
    backbone = whole.backbone
    written = _Whole(CountedWords(backbone), whole.head, whole.names).eval() if isinstance(backbone, Tfidf) else whole
    return traced(written, _fed(whole, 2, 16), whole.names, ("outputs", "features"), (shapes,), path, trained)


def _difference(whole: _Whole, path: Path) -> float:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    spec, worst = whole.backbone.input_spec, 0.0
    longest = 16 if isinstance(spec, ImageSpec) else min(48, spec.max_length)
    for count, tokens in zip(_COUNTS, (longest, 5, 9), strict=True):
        fed = _fed(whole, count, min(tokens, longest))
        with torch.no_grad():
            expected = [part.numpy() for part in whole(*fed)]
        try:
            found = session.run(None, {name: part.numpy() for name, part in zip(whole.names, fed, strict=True)})
        except Exception as error:  # ONNX Runtime's own types; a size that the trace took for the only one
            path.unlink()
            raise ValueError(
                f"the graph takes no {count} samples of {tokens} tokens ({str(error).splitlines()[0][:200]}): it is "
                "not written"
            ) from error
        for one, other in zip(found, expected, strict=True):
            if one.shape != other.shape or not np.isfinite(one).all():
                return float("inf")
            worst = max(worst, float(np.abs(one - other).max()) / max(1.0, float(np.abs(other).max())))
    return worst
