"""`Latency`: how long a backbone takes on this machine."""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import TextSpec, moved

BATCHES = (1, 64)
TOKENS = 64  # of the longest text
_REPETITIONS, _SECONDS = 15, 3.0  # of each size: whichever comes first, but at least one


@dataclass(frozen=True)
class Latency:
    """Medians of repeated runs, after one that is not counted.

    Args:
        milliseconds: of a whole batch, by number of samples in it.
        threads: of the processor that torch uses.
        device: that computes.
    """

    milliseconds: dict[int, float]
    threads: int
    device: str


def latency(backbone: Backbone, device: torch.device, batches: Sequence[int] = BATCHES) -> Latency:
    """Time a backbone on inputs with random contents, in float32; texts have up to 64 tokens.

    Args:
        backbone: is moved to `device`, and put into evaluation mode.
        device: that computes.
        batches: samples of each size that is timed.
    """
    backbone.eval().to(device)
    found = {}
    for count in batches:
        inputs = moved(_inputs(backbone, count), device)
        _seconds(backbone, inputs, device)
        spent: list[float] = []
        while len(spent) < _REPETITIONS and (not spent or sum(spent) < _SECONDS):
            spent.append(_seconds(backbone, inputs, device))
        found[count] = 1000 * statistics.median(spent)
    return Latency(found, torch.get_num_threads(), str(device))


def _inputs(backbone: Backbone, count: int) -> object:
    longest = "longest" in inspect.signature(backbone.example_inputs).parameters
    if isinstance(backbone.input_spec, TextSpec) and longest:
        return backbone.example_inputs(count, longest=TOKENS)  # type: ignore[call-arg]
    return backbone.example_inputs(count)


def _seconds(backbone: Backbone, inputs: object, device: torch.device) -> float:
    started = time.perf_counter()
    with torch.inference_mode():
        backbone(inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
