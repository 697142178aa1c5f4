"""`Conditions`: what a data module is told of those it serves, with or without a Trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from lightning_tl.contracts.batches import ImageSpec, TextSpec

InputSpec = ImageSpec | TextSpec


@runtime_checkable
class ReadsInputs(Protocol):
    """A backbone, or a module that is one itself, that says what its inputs must be."""

    @property
    def input_spec(self) -> InputSpec | None:
        """What the model expects of an input."""
        ...


@dataclass(frozen=True)
class Conditions:
    """All that data need to know of model and machine.

    A Trainer's are taken from it. Whoever serves a model without one hands them to `serve` of the data module.

    Args:
        input_spec: what the model reads; None where it does not say, or there is none.
        reader: class of the model, for messages.
        device: where batches go.
        rank: of this process.
        world_size: processes that share the samples.
        local_world_size: those of them on this machine, which share its cores.
        shuffle: whether training samples come in a new order each epoch.
        weights: folder of the weights that the model starts from; None where there is none.
        text_spec: what the text encoder beside an image model reads; None where there is none.
    """

    input_spec: InputSpec | None = None
    reader: str = "no model"
    device: torch.device = field(default_factory=partial(torch.device, "cpu"))
    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    shuffle: bool = True
    weights: Path | None = None
    text_spec: TextSpec | None = None

    @classmethod
    def of_model(cls, model: Any, **others: Any) -> Conditions:
        """Those of a backbone, or of a module that has one or is one."""
        # No protocol: from Python 3.12 on `isinstance` sees nothing of what torch keeps as a module's submodule.
        reads = getattr(model, "backbone", model)
        spec = getattr(reads, "input_spec", None)
        told = getattr(reads, "arguments", None)
        place = told.get("pretrained") if isinstance(told, dict) and told.get("weights", True) else None
        weights = Path(place) if isinstance(place, str) and Path(place).is_dir() else None
        texts = getattr(getattr(model, "text_backbone", None), "input_spec", None)
        reader = type(reads).__name__ if reads is not None else "no model"
        return cls(spec, reader, text_spec=texts, weights=weights, **others)

    @classmethod
    def of_trainer(cls, trainer: Any) -> Conditions:
        """Those of a Trainer that has been given its module."""
        return cls.of_model(
            trainer.lightning_module,
            device=trainer.strategy.root_device,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            local_world_size=trainer.num_devices,
            shuffle=not trainer.overfit_batches,  # Lightning wants the same few batches then
        )
