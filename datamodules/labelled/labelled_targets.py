"""`LabelledTargets`: what a data module's samples are labelled with, as strategies ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datamodules.labelled.targets import as_targets, target_of, task_of_records
from lightning_tl.tasks import Task

if TYPE_CHECKING:
    from datamodules.loading.orders import Indices
    from lightning_tl.contracts.run_description import RunDescription


class LabelledTargets:
    """Part of `ClassificationDataModule`; a subclass with targets of its own overrides `target`."""

    if TYPE_CHECKING:
        indices: dict[str, Indices]
        run: RunDescription | None

        @property
        def records(self) -> Any:
            """All samples with their labels and splits."""

        @property
        def source(self) -> str:
            """Where the samples come from, for messages."""

    def target(self, index: int) -> Tensor | int:
        """What is to be learned of a sample: its class number, or [num_classes] of 0.0 and 1.0 for several labels."""
        label: Tensor | int = target_of(self.records, index)
        return label

    @property
    def task(self) -> Task | None:
        """What the targets are, once `setup` has run; None where a subclass has targets of its own."""
        if type(self).target is not LabelledTargets.target:
            return None
        return task_of_records(self.records, self.indices["train"], self.run, self.source)

    def training_counts(self) -> tuple[dict[str, int], int]:
        """How many training samples each class or label has, and how many there are."""
        train = self.indices["train"]
        return self.records.counts(train), len(train)

    def targets(self) -> Tensor:
        """What is to be learned of all samples: [n], or [n, outputs]."""
        if type(self).target is LabelledTargets.target:
            return torch.tensor(as_targets(self.records.labels))
        return torch.stack([torch.as_tensor(self.target(index)) for index in range(len(self.records.ids))])
