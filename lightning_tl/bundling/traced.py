"""Modules as ONNX graphs by `torch.export`, and why one could not be written."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_tl.bundling.exchangeable import exchangeable, forget_places

_OPERATOR = re.compile(r"No (?:ONNX function|decompositions?)[^']*?'?((?:aten|[a-z_]\w*)(?:\.|::)\w+)")
_IN_ONE_FILE = 1_500_000_000  # bytes of weights; a graph of more than 2 GiB has them beside it


def traced(
    module: nn.Module,
    given: tuple[Tensor, ...],
    names: Sequence[str],
    outputs: Sequence[str],
    shapes: Any,
    path: Path,
    trained: Sequence[Tensor] = (),
) -> dict[str, NDArray[Any]]:
    """Write a module as a graph; the exporter's own words on its steps, and the places of code on disk, are left out.

    Args:
        module: in evaluation mode, on the CPU.
        given: an example of its inputs.
        names: of the inputs.
        outputs: names of what it returns.
        shapes: which axes are free, as `torch.export` takes it.
        path: of the `.onnx` file.
        trained: weights that may be exchanged, see `exchangeable`.

    Returns:
        by name, the weights that may be exchanged; empty where none may.
    """
    size = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            given,
            dynamo=True,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            verbose=False,
        )
        assert program is not None, "the dynamo exporter returns a program"
        forget_places(program.model)
        found = {} if size > _IN_ONE_FILE else exchangeable(program.model, trained)
        program.save(str(path), external_data=size > _IN_ONE_FILE)
    return found


def why(error: BaseException) -> str:
    """The operator that ONNX has not, or the innermost reason; the exporter wraps both in pages of advice."""
    causes = [error]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < 20:
        causes.append(inner)
    texts = [str(cause) for cause in causes]
    operators = [found[1] for text in texts if (found := _OPERATOR.search(text)) is not None]
    reason = next(
        (
            f"{type(cause).__name__}: {lines[0][:300]}"
            for cause, text in zip(reversed(causes), reversed(texts), strict=True)
            if (lines := [line.strip() for line in text.splitlines() if line.strip()])
        ),
        type(error).__name__,
    )
    return f"the operator {operators[0]} has no translation ({reason})" if operators else reason
