"""When a phase of progressive unfreezing ends."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any


class PhaseTrigger(ABC):
    """Says at the end of each epoch whether the phase ends, and why."""

    monitor: str | None = None

    @abstractmethod
    def reason(self, phase: int, first_epoch: int, epoch: int, metric: float | None) -> str | None:
        """Why the phase ends now, or None.

        Args:
            phase: from 0.
            first_epoch: of this phase.
            epoch: the one that has just ended, from 0.
            metric: the monitored metric, None where it was not measured in this epoch.
        """

    def changes_before(self, epochs: int) -> int | None:
        """How many phase changes fall inside a run of this many epochs; None where that is open."""
        return None

    def reset(self) -> None:  # noqa: B027
        """Forget what belongs to the phase that ended."""

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers that `load_state_dict` takes back."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Take over what `state_dict` returned."""


class EpochsPerPhase(PhaseTrigger):
    """Every phase lasts this many epochs."""

    def __init__(self, epochs: int) -> None:
        if epochs < 1:
            raise ValueError(f"epochs_per_phase must be at least 1, got {epochs}")
        self.epochs = epochs

    def reason(self, phase: int, first_epoch: int, epoch: int, metric: float | None) -> str | None:
        """See `PhaseTrigger`."""
        return f"epochs_per_phase={self.epochs}" if epoch + 1 - first_epoch >= self.epochs else None

    def changes_before(self, epochs: int) -> int | None:
        """See `PhaseTrigger`."""
        return max(0, epochs - 1) // self.epochs


class Milestones(PhaseTrigger):
    """Phase k starts with epoch `milestones[k - 1]`, counted from 0."""

    def __init__(self, milestones: Sequence[int]) -> None:
        self.milestones = list(milestones)
        rising = all(a < b for a, b in zip(self.milestones, self.milestones[1:], strict=False))
        if not self.milestones or self.milestones[0] < 1 or not rising:
            raise ValueError(f"milestones must be epochs from 1 on in rising order, got {self.milestones}")

    def reason(self, phase: int, first_epoch: int, epoch: int, metric: float | None) -> str | None:
        """See `PhaseTrigger`."""
        reached = phase < len(self.milestones) and epoch + 1 >= self.milestones[phase]
        return f"milestone {self.milestones[phase]} was reached" if reached else None

    def changes_before(self, epochs: int) -> int | None:
        """See `PhaseTrigger`."""
        return sum(milestone < epochs for milestone in self.milestones)


class StoppedImproving(PhaseTrigger):
    """A phase ends when its metric has not improved for `patience` measurements.

    Args:
        monitor: name of a logged metric.
        mode: `min` or `max`.
        patience: measurements without improvement.
        min_delta: a smaller change than this is no improvement.
    """

    def __init__(self, monitor: str, mode: str, patience: int, min_delta: float) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be min or max, got {mode!r}")
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        if min_delta < 0:
            raise ValueError(f"min_delta must not be negative, got {min_delta}")
        self.monitor: str = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.patience, self.min_delta = patience, min_delta
        self.best: float | None = None
        self.waited = 0

    @property
    def improved(self) -> bool:
        """Whether the last measurement was the best of its phase."""
        return self.best is not None and self.waited == 0

    def reason(self, phase: int, first_epoch: int, epoch: int, metric: float | None) -> str | None:
        """See `PhaseTrigger`."""
        if metric is None:
            return None
        if not math.isnan(metric) and (self.best is None or self.sign * (metric - self.best) > self.min_delta):
            self.best, self.waited = metric, 0
            return None
        self.waited += 1
        if self.waited < self.patience:
            return None
        best = "no number yet" if self.best is None else f"best {self.best:.4f}"
        return f"{self.monitor} has not improved in {self.waited} measurements ({best})"

    def reset(self) -> None:
        """See `PhaseTrigger`."""
        self.best, self.waited = None, 0

    def state_dict(self) -> dict[str, Any]:
        """See `PhaseTrigger`."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `PhaseTrigger`."""
        self.best, self.waited = state["best"], state["waited"]


def phase_trigger(
    epochs_per_phase: int | None,
    milestones: Sequence[int] | None,
    monitor: str | None,
    mode: str,
    patience: int,
    min_delta: float,
) -> PhaseTrigger:
    """The one trigger that the arguments of `ProgressiveUnfreezing` ask for."""
    ways = {"epochs_per_phase": epochs_per_phase, "milestones": milestones, "monitor": monitor}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} both say when a phase ends; give one of {', '.join(ways)}")
    if monitor is not None:
        return StoppedImproving(monitor, mode, patience, min_delta)
    if milestones is not None:
        return Milestones(milestones)
    return EpochsPerPhase(1 if epochs_per_phase is None else epochs_per_phase)
