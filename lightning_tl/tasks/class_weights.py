"""`ClassWeights`: factors of the classes in a loss, as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lightning_tl.contracts.data import CountedLabels
from lightning_tl.tasks.task import Task, named_weights

Given = Sequence[float] | Mapping[str, float] | Literal["balanced"] | None


class ClassWeights:
    """One factor for each class, some by name, or "balanced".

    Args:
        given: as of `TransferModule`.

    Raises:
        ValueError: negative factors, or none above 0.
    """

    def __init__(self, given: Given) -> None:
        values = list(given.values()) if isinstance(given, Mapping) else given
        if isinstance(values, str) and values != "balanced":
            raise ValueError(f"class_weights must be numbers, numbers by name, or balanced, got '{values}'")
        if values is not None and not isinstance(values, str):
            least = 1.0 if isinstance(given, Mapping) else 0.0  # classes that are not named count 1
            if not (min(values, default=-1) >= 0 and 0 < sum(values) + least < float("inf")):
                raise ValueError(f"class_weights must be at least 0, and one above 0, got {list(values)}")
        self.given = given
        self.tensor: Tensor | None = None  # [outputs], once `resolve` has run

    def resolve(self, task: Task, names: Sequence[str], data: Any) -> None:
        """Find the factor of each class.

        Args:
            task: what is learned.
            names: of the classes, in order.
            data: the data module, which "balanced" asks how many training samples each class has.

        Raises:
            ValueError: a wrong number of factors, unknown names, or data that cannot tell.
        """
        if self.given is None:
            return
        if isinstance(self.given, str):
            if self.tensor is None:
                self.tensor = _balanced(task, names, data)
            return
        given = self.given
        values = named_weights(given, names) if isinstance(given, Mapping) else [float(value) for value in given]
        if len(values) != len(names):
            raise ValueError(f"class_weights must have {len(names)} values, got {len(values)}")
        self.tensor = torch.tensor(values)

    def take_back(self, state: Mapping[str, Tensor]) -> bool:
        """Take the factors from a module's weights, where there are no data to count them; whether that was needed.

        Args:
            state: of the module, with its loss.
        """
        if self.given is None or self.tensor is not None:
            return False
        kept = [state[name] for name in ("loss.weight", "loss.pos_weight") if name in state]
        self.tensor = kept[0].clone() if kept else None
        return True


def _balanced(task: Task, names: Sequence[str], data: Any) -> Tensor | None:
    counts, samples = data.training_counts() if isinstance(data, CountedLabels) else ({}, 0)
    if samples == 0 and isinstance(data, CountedLabels):
        return torch.ones(len(names))  # nothing is trained: of a finished run the loss alone is told, unweighted
    missing = [name for name in names if not counts.get(name)]
    if missing and isinstance(data, CountedLabels) and counts:
        raise ValueError(f"class_weights: balanced needs training samples of every class; none of {', '.join(missing)}")
    if not counts and task.name != "values":
        raise ValueError(
            f"class_weights: balanced needs a data module that counts its labels (training_counts), and "
            f"{type(data).__name__} does not; give numbers"
        )
    positives = np.array([counts.get(name, 1) for name in names], np.int64)
    return torch.from_numpy(task.balanced(positives, samples)).float()
