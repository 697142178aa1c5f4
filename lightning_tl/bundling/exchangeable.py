"""Weights of a graph that may be exchanged when it runs, so that many adapted models share one frozen backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from torch import Tensor


def forget_places(model: onnx_ir.Model) -> None:
    """Drop what the exporter notes on each node: lines of code, and the folders in which they lie on this machine."""
    graph = model.graph
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()


def exchangeable(model: onnx_ir.Model, trained: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    """Make inputs with defaults of the weights that were trained: ONNX's overridable initializers.

    Their sizes are left open, and with them those of everything inside, so that a rank or a number of classes may be
    another. The exporter keeps a weight as it is or transposed.

    Args:
        model: that was exported.
        trained: weights.

    Returns:
        by name, the weights; empty, and the graph as it was, where not all of them are found in it.
    """
    wanted = [weight.detach().cpu().numpy() for weight in trained]
    found = {}
    for name, value in model.graph.initializers.items():
        content = None if value.const_value is None else value.const_value.numpy()
        if content is not None and any(_is(content, weight) for weight in wanted):
            found[name] = np.ascontiguousarray(content)
    if not wanted or len(found) != len(wanted):
        return {}
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value not in model.graph.outputs:
                value.shape = None
    for value in model.graph.outputs:
        if value.shape is not None:
            value.shape = onnx_ir.Shape(
                [value.shape[0], *(f"{value.name}_{axis}" for axis in range(1, len(value.shape)))]
            )
    for number, name in enumerate(found):
        value = model.graph.initializers[name]
        value.shape = onnx_ir.Shape([f"trained_{number}_{axis}" for axis in range(found[name].ndim)])
        model.graph.inputs.append(value)
    return found


def base_sha256(path: Path, exchanged: Sequence[str]) -> str:
    """Hash of a graph without the weights that may be exchanged: graphs of one hash differ in these alone."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    kept = [weight for weight in model.graph.initializer if weight.name not in set(exchanged)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _is(content: NDArray[Any], weight: NDArray[Any]) -> bool:
    if content.dtype != weight.dtype or content.ndim != weight.ndim:
        return False
    same = content.shape == weight.shape and np.array_equal(content, weight)
    return same or (content.ndim == 2 and content.shape == weight.shape[::-1] and np.array_equal(content, weight.T))
