"""`LabelledFeatures`: what a backbone makes of training and validation samples, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.data import ShownImages, ShownTexts
from lightning_tl.embedding import Embedder, EmbeddingSettings, Ranks
from lightning_tl.tasks import Task
from lightning_tl.tasks.task import task_of

Places = NDArray[np.int64]


@runtime_checkable
class LabelledSamples(Protocol):
    """What is asked of data; every `datamodules.ClassificationDataModule` has it."""

    indices: dict[str, Places]  # of each split, once `setup` has run
    class_names: tuple[str, ...]

    def setup(self, stage: str | None = None) -> None:
        """Find out which samples there are."""
        ...

    def targets(self) -> Tensor:
        """What is to be learned of all samples: [n], or [n, outputs]."""
        ...

    def blocks(self, indices: Sequence[int]) -> Places | None:
        """The block of each sample; None when they are independent."""
        ...


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of training and validation samples; never of test samples.

    Args:
        values: [n, dim], float32.
        target: [n] class numbers, or [n, outputs].
        training: [n] whether a sample is one to train on; the others are for validation.
        blocks: [n] block of each; None when samples are independent.
        task: what the targets are.
        class_names: of the outputs.
    """

    values: NDArray[np.float32]
    target: Tensor
    training: NDArray[np.bool_]
    blocks: Places | None
    task: Task
    class_names: tuple[str, ...]

    def columns(self, part: slice) -> LabelledFeatures:
        """The same of some of the features."""
        return replace(self, values=self.values[:, part])


def labelled_features(
    backbone: Backbone,
    name: str,
    data: Any,
    folder: Path,
    settings: EmbeddingSettings,
    accelerator: str = "auto",
    fewest: int = 1,
) -> LabelledFeatures:
    """Embed a data set's training and validation samples, or read what was kept of an earlier time.

    Args:
        backbone: with the weights to use.
        name: of it, for people.
        data: as recipes have it, before its `setup`.
        folder: where features are kept; an interrupted call goes on there.
        settings: of the embedding.
        accelerator: as the Trainer takes it.
        fewest: training samples that are needed.

    Raises:
        ValueError: data of another kind than the backbone reads, that have no labels or fewer training samples than
            `fewest`, or that cannot be read sample by sample.
    """
    if not isinstance(data, LabelledSamples):
        raise ValueError(
            f"{type(data).__name__} cannot be judged by its labels: take a data module such as "
            "datamodules.TextDataModule, SatelliteDataModule or ImageFolderDataModule, or a subclass of theirs"
        )
    spec = backbone.input_spec
    if isinstance(data, ShownImages | ShownTexts) and isinstance(data, ShownImages) != isinstance(spec, ImageSpec):
        reads, has = ("images", "texts") if isinstance(spec, ImageSpec) else ("texts", "images")
        raise ValueError(f"{name} reads {reads}, but {type(data).__name__} has {has}")
    read = _TrainingAndValidation(data, fewest)
    rows, values = Embedder(backbone, name, read, "train", settings, Ranks(), accelerator).keep(folder)
    task = task_of(data)
    if task is None:
        raise ValueError(f"{type(data).__name__} has targets of its own, for which there is no score")
    training = np.isin(rows, data.indices["train"])
    target = data.targets()[torch.from_numpy(rows)]
    return LabelledFeatures(values, target, training, data.blocks(rows.tolist()), task, data.class_names)


class _TrainingAndValidation:
    """`ReadableData` whose samples are those that training and validation have, few labels included."""

    labelled = True

    def __init__(self, data: Any, fewest: int) -> None:
        self.data, self.fewest = data, fewest

    @property
    def input_spec(self) -> Any:
        """How the data prepare images, where they are images."""
        return getattr(self.data, "input_spec", None)

    def serve(self, conditions: Conditions) -> None:
        self.data.serve(conditions)

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup_reading(self, split: str | None = None) -> Places:
        self.data.setup("fit")
        if (task := task_of(self.data)) is not None and task.dense:
            raise ValueError(
                f"{type(self.data).__name__} has {task.name}, and one vector of a sample is judged by one label: "
                "compare runs (compare), each with its own backbone"
            )
        train, validation = (self.data.indices[split] for split in ("train", "validation"))
        if len(train) < self.fewest:
            raise ValueError(
                f"{self.fewest} neighbours are asked for, but there are {len(train)} training samples: take fewer "
                f"neighbours"
            )
        return np.concatenate([train, validation])

    def lengths(self, indices: Places) -> Places:
        return self.data.lengths(indices)  # type: ignore[no-any-return]

    def fingerprint(self, indices: Places) -> str:
        return str(self.data.fingerprint(indices))

    def reading_loader(self, order: Any) -> Any:
        return self.data.reading_loader(order)

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        return self.data.sample_ids(indices)  # type: ignore[no-any-return]
