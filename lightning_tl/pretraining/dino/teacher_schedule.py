"""How DINO's teacher changes over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TeacherSchedule:
    """Functions of the number of steps that are done, so that a resumed run goes on exactly.

    Args:
        momentum: share of the teacher that stays in the first step, in [0, 1); it rises to 1 by half a cosine.
        temperature: of the teacher, above 0, once it is warm.
        warmup_temperature: of the teacher at the first step.
        warmup_epochs: over which its temperature goes from one to the other, on a line.
        frozen_epochs: in which the head's last layer stays as it is.
    """

    momentum: float
    temperature: float
    warmup_temperature: float
    warmup_epochs: int
    frozen_epochs: int

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        for name, value in (("teacher_", self.temperature), ("warmup_", self.warmup_temperature)):
            if not value > 0:
                raise ValueError(f"{name}temperature must be above 0, got {value}")
        for name in ("warmup_epochs", "frozen_epochs"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    def momentum_at(self, step: int, steps: int) -> float:
        """Share of the teacher that stays in step `step`, counted from 0, of a run of `steps`."""
        return 1 - (1 - self.momentum) * (1 + math.cos(math.pi * step / steps)) / 2

    def temperature_at(self, step: int, warm: int) -> float:
        """The teacher's temperature in step `step`, counted from 0, where it is warm from step `warm` on."""
        if step >= warm:
            return self.temperature
        return self.warmup_temperature + (self.temperature - self.warmup_temperature) * step / warm

    def warm_from(self, steps: int, steps_per_epoch: float) -> int:
        """The first step with a warm teacher.

        Args:
            steps: of the whole run.
            steps_per_epoch: likewise optimizer steps; infinite where nobody knows.

        Raises:
            ValueError: the run ends before that, or the data do not say how long an epoch is.
        """
        if self.warmup_epochs == 0:
            return 0
        if math.isinf(steps_per_epoch):
            raise ValueError("warmup_epochs needs data that say how many batches an epoch has: set it to 0")
        warm = self.warmup_epochs * math.ceil(steps_per_epoch)
        if warm > steps:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}, {warm} steps, but the run has {steps}: lower it to "
                f"{steps // math.ceil(steps_per_epoch)} at most, or train longer"
            )
        return warm
