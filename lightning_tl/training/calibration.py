"""Which outputs a temperature may divide, and what a step tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightning_tl.contracts.batches import StepOutput
from lightning_tl.tasks import OneLabel, PixelLabels, SeveralLabels, Values

if TYPE_CHECKING:
    from lightning_tl.training.transfer_module import TransferModule


def why_uncalibrated(module: TransferModule) -> str | None:
    """Why its outputs are no logits that a temperature could divide; None where they are."""
    if module.task_name == Values.name:
        return "values have no confidence"
    if module.task_name == PixelLabels.name:
        return "a temperature is of whole samples, and pixels of an image hang together"
    if module.task_name not in (OneLabel.name, SeveralLabels.name):
        return "what the outputs are is not known"
    for name in ("probabilities", "predictions"):
        if not getattr(type(module), name).__module__.startswith("lightning_tl."):
            return f"{type(module).__name__} has {name} of its own"
    return None


def outputs_of_step(module: TransferModule, output: StepOutput) -> dict[str, Tensor]:
    """What a step of validation or test returns: target, probabilities and, where these come of logits, the logits."""
    found: Tensor = output.predictions.detach()
    outputs = module.task.kept(module.probabilities(found), output.target)
    return outputs if why_uncalibrated(module) is not None else {**outputs, "logits": found}


def divided(outputs: Any, temperature: float | None) -> Any:
    """Logits over a temperature; as they are where there is none."""
    return outputs if temperature is None else outputs / temperature
