"""`Values`: numbers are predicted, in their own units."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
from torchmetrics.regression import R2Score

from lightning_tl.metrics import value_scores
from lightning_tl.tasks.task import NO_SMOOTHING, Task


class Values(Task):
    """Targets are numbers [batch, targets]; the head learns them standardised, predictions are in their own units.

    Args:
        mean: of each target over the training samples.
        std: standard deviation of each target over the training samples, above 0.
    """

    name: ClassVar[str] = "values"
    hugging_face: ClassVar[str] = "regression"
    mean: Tensor  # [targets]
    std: Tensor  # [targets]

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not len(mean):
            raise ValueError(f"a mean and a std for each target are needed, got {len(mean)} and {len(std)}")
        if not all(np.isfinite(value) for value in (*mean, *std)) or min(std) <= 0:
            raise ValueError(f"mean must be finite and std above 0, got {list(mean)} and {list(std)}")
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32))

    def loss(self, weights: Tensor | None = None, label_smoothing: float = 0.0) -> nn.Module:
        """Mean squared error of standardised values."""
        if label_smoothing:
            raise ValueError(NO_SMOOTHING.format(label_smoothing))
        if weights is not None:
            raise ValueError(f"class_weights are for labels, but the task is {self.name}: leave them out")
        return nn.MSELoss()

    def metrics(self, outputs: int) -> dict[str, Metric]:
        """R², the mean over several targets; of one target also the errors in its unit."""
        errors: dict[str, Metric] = {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)}
        return {"r2": ShareExplained(), **(errors if outputs == 1 else {})}

    def predictions(self, outputs: Tensor) -> Tensor:
        """Values [batch, targets] in their own units."""
        return outputs.float() * self.std + self.mean

    def shaped(self, target: Tensor) -> Tensor:
        """[batch, targets]; of a single target also given as [batch]."""
        return target[:, None] if target.ndim == 1 and len(self.mean) == 1 else target

    def describe(self) -> dict[str, list[float]]:
        """Mean and standard deviation of each target."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def check_outputs(self, outputs: int) -> None:
        """As many as there are means."""
        if outputs != len(self.mean):
            raise ValueError(f"Values has a mean and a std for {len(self.mean)} targets, but there are {outputs}")

    def aim(self, target: Tensor) -> Tensor:
        """Standardised."""
        return (target - self.mean.to(target.device)) / self.std.to(target.device)

    def folded(self, head: nn.Module) -> nn.Module:
        """A copy of the head that gives values in their own units; its last layer must be linear."""
        head = copy.deepcopy(head)
        layers = list(head) if isinstance(head, nn.Sequential) else [head]
        last = layers[-1]
        if not isinstance(last, nn.Linear) or last.bias is None:
            last = nn.Linear(len(self.mean), len(self.mean)).to(self.mean.device)
            nn.init.eye_(last.weight)
            nn.init.zeros_(last.bias)
            head = nn.Sequential(*layers, last) if isinstance(head, nn.Sequential) else nn.Sequential(head, last)
        with torch.no_grad():
            last.weight.mul_(self.std[:, None])
            last.bias.mul_(self.std).add_(self.mean)
        return head

    def results(
        self, given: NDArray[Any], target: NDArray[Any], names: Sequence[str], blocks: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """Errors and R² of each target, with intervals."""
        columns = target.reshape(len(target), -1)
        return {"values": [value_scores(columns[:, k], given[:, k], blocks, name) for k, name in enumerate(names)]}


class ShareExplained(R2Score):
    """R², the mean over targets; not a number of fewer than two samples, for which torchmetrics raises."""

    def compute(self) -> Tensor:
        """Scalar."""
        if self.total < 2:
            return torch.full((), float("nan"), device=self.device)
        return super().compute()
