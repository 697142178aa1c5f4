"""`Cost`: what a whole run would take, from what a short one took."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WARM_UP = 3  # steps that are not counted


@dataclass(frozen=True)
class Cost:
    """Predicted of a run.

    Args:
        seconds: of training, with validation.
        peak_bytes: of memory, of the GPU where there is one.
    """

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class StepTimes:
    """What a short run noted of itself; see `NoteStepTimes`.

    Args:
        training_s: seconds of each step, of all epochs.
        validation_s: seconds of each batch of validation.
        epochs_s: seconds of each epoch.
        steps: of an epoch of the short run.
        validation_steps: the same of its validation.
        whole_steps: of an epoch of a run that is not cut short.
        whole_validation_steps: the same of its validation.
        latency_ms: of the backbone for one sample; 0 where there is none.
        knows_its_source: whether features of what it was pretrained on came with the backbone.
    """

    training_s: Sequence[float]
    validation_s: Sequence[float]
    epochs_s: Sequence[float]
    steps: int
    validation_steps: int
    whole_steps: int
    whole_validation_steps: int
    latency_ms: float
    knows_its_source: bool = False

    @classmethod
    def read(cls, path: Path) -> StepTimes:
        """What `NoteStepTimes` wrote."""
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**found)

    @property
    def step_s(self) -> float:
        """Seconds of a step: the median of those after the first ones."""
        return statistics.median(self.training_s[_WARM_UP:] or self.training_s)

    def seconds(self, epochs: int, training_s: float, share: float = 1.0) -> float:
        """Of a whole run.

        Args:
            epochs: that it trains.
            training_s: what the short run took in all.
            share: what a step of the whole run takes of one of the short run, on average.
        """
        validation = statistics.median(self.validation_s) if self.validation_s else 0.0
        own = self.step_s * self.steps + validation * self.validation_steps
        between = max(0.0, min(self.epochs_s) - own)  # checkpoints, workers that begin
        before = max(0.0, training_s - len(self.epochs_s) * (own + between))
        epoch = self.step_s * share * self.whole_steps + validation * self.whole_validation_steps + between
        return before + epochs * epoch
