"""`Task`: what is learned of a sample, and how it is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric

NO_SMOOTHING = "label_smoothing is for one label a sample, got {}: leave it out"


class Task(nn.Module, ABC):
    """Loss, metrics, what a prediction is, and what a test reports; base of the tasks.

    A data module says in its attribute `task` what its targets are. What a task knows of the training targets lies in
    buffers, and so in the checkpoint.

    Attributes:
        name: kept in run folders; does not change.
        fewest: outputs that the head must have.
        hugging_face: the `problem_type` of a transformers config.
        dense: whether every pixel has a target of its own, so that the head reads feature maps.
    """

    name: ClassVar[str]
    fewest: ClassVar[int] = 1
    hugging_face: ClassVar[str]
    dense: ClassVar[bool] = False

    @abstractmethod
    def loss(self, weights: Tensor | None = None, label_smoothing: float = 0.0) -> nn.Module:
        """A module called as `loss(outputs, aim(target))`.

        Args:
            weights: [outputs], of the classes.
            label_smoothing: share of the target that is spread evenly over all classes, in [0, 1).

        Raises:
            ValueError: for an option that this task has not.
        """

    @abstractmethod
    def metrics(self, outputs: int) -> dict[str, Metric]:
        """Metrics by name, updated with (scored(outputs), target)."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """The head's outputs [batch, outputs] as people read them: probabilities, or values in their own units."""

    def scored(self, outputs: Tensor) -> Tensor:
        """What metrics compare with the target: [batch, outputs]."""
        return self.predictions(outputs)

    def kept(self, given: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What a step of validation or test tells of each sample, by name, each [batch, …].

        Args:
            given: as of `predictions`.
            target: as of `shaped`.
        """
        return {"target": target, "probabilities": given}

    def shaped(self, target: Tensor) -> Tensor:
        """A batch's target as it is compared with predictions."""
        return target

    def describe(self) -> dict[str, list[float]]:
        """What it knows of the training targets, as JSON values."""
        return {}

    def check_outputs(self, outputs: int) -> None:
        """Refuse a head that cannot be right.

        Raises:
            ValueError: a head with so many outputs does not fit.
        """

    def aim(self, target: Tensor) -> Tensor:
        """The target as the loss takes it."""
        return target

    def balanced(self, positives: NDArray[np.int64], samples: int) -> NDArray[np.float64]:
        """Weights by which all classes count alike.

        Args:
            positives: [outputs] training samples of each class, at least 1.
            samples: training samples.

        Raises:
            ValueError: for a task without classes.
        """
        raise ValueError(f"class_weights are for labels, but the task is {self.name}: leave them out")

    def folded(self, head: nn.Module) -> nn.Module:
        """A head whose outputs need nothing of this task: the same, or a copy that gives values in their own units."""
        return head

    @abstractmethod
    def results(
        self, given: NDArray[Any], target: NDArray[Any], names: Sequence[str], blocks: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """What a test reports, ready for JSON.

        Args:
            given: [n, outputs, …], of `predictions`.
            target: [n, …], as `shaped`.
            names: of the outputs.
            blocks: [n] block of each sample, for intervals; None when samples are independent.
        """


@runtime_checkable
class HasTask(Protocol):
    """A data module that says what its targets are."""

    @property
    def task(self) -> Task:
        """What the targets are."""
        ...


def task_of(data: Any) -> Task | None:
    """What a data module says its targets are; None where it says nothing."""
    return data.task if isinstance(data, HasTask) and isinstance(data.task, Task) else None


def named_weights(given: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """One weight for each class, 1 where none is given.

    Raises:
        ValueError: for names that no class has.
    """
    unknown = [str(name) for name in given if str(name) not in names]
    if unknown:
        raise ValueError(
            f"class_weights names {', '.join(unknown)}, which no class is called; the classes are "
            f"{', '.join(names[:10])}{', …' if len(names) > 10 else ''}"
        )
    return [float(given.get(name, 1.0)) for name in names]
