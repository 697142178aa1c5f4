"""Weights of 8 bits in a bundle's graph, and what that costs."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.bundling.validation_samples import RawSamples
from lightning_tl.serving.answering import BadInputError
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.onnx_predictor import GRAPH, OnnxPredictor

_KINDS = ["MatMul", "Gemm"]  # convolutions become slower by it
_INTEGER = ("MatMulInteger", "DynamicQuantizeMatMul")
_AT_ONCE = 32


def quantise(folder: Path, manifest: Manifest, samples: RawSamples) -> dict[str, Any]:
    """Replace the graph by one with weights of 8 bits, and measure what it loses on labelled samples.

    Args:
        folder: with the graph, and the tokenizer where there is one.
        manifest: of the bundle; its files need not be hashed yet.
        samples: of validation.

    Returns:
        how many samples; the score before and after; the largest difference of a probability or value; sizes.

    Raises:
        ValueError: the graph has no matrices that could be kept so, or ONNX Runtime does not manage it.
    """
    before, size = _answers(folder, manifest, samples), (folder / GRAPH).stat().st_size
    _quantise(folder / GRAPH)
    after = _answers(folder, manifest, samples)
    name, score = _score(manifest.task)
    return {
        "samples": len(samples.raw),
        "score": name,
        "float32": score(before, samples.target),
        "int8": score(after, samples.target),
        "largest_difference": float(np.abs(before - after).max()),
        "bytes_float32": size,
        "bytes_int8": (folder / GRAPH).stat().st_size,
    }


def _quantise(graph: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = graph.with_name("int8.onnx")
    silenced = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of steps that a graph of torch.export has behind it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_dynamic(graph, made, op_types_to_quantize=_KINDS, weight_type=QuantType.QInt8, per_channel=True)
    except Exception as error:  # it raises many types
        made.unlink(missing_ok=True)
        raise ValueError(f"the graph cannot be kept in 8 bits: {str(error).splitlines()[0][:300]}") from error
    finally:
        logging.disable(silenced)
    if not any(node.op_type in _INTEGER for node in onnx.load(made, load_external_data=False).graph.node):
        made.unlink()
        raise ValueError("the graph has no matrices that could be kept in 8 bits: leave --int8 out")
    os.replace(made, graph)


def _answers(folder: Path, manifest: Manifest, samples: RawSamples) -> NDArray[np.float32]:
    model = OnnxPredictor(folder, manifest)
    parts = []
    for start in range(0, len(samples.raw), _AT_ONCE):
        try:
            prepared = [model.prepare(one) for one in samples.raw[start : start + _AT_ONCE]]
        except BadInputError as error:
            raise ValueError(f"a sample of validation cannot be sent: {error}") from None
        parts.append(model.predict(prepared, calibrated=False).outputs)
    return np.concatenate(parts)


def _score(task: str) -> tuple[str, Any]:
    if task == "values":
        return "mean absolute error", lambda given, target: float(np.abs(given - target.reshape(len(given), -1)).mean())
    if task == "several labels":
        return "share of right answers", lambda given, target: float(((given >= 0.5) == (target > 0.5)).mean())
    return "accuracy", lambda given, target: float((given.argmax(1) == target).mean())
