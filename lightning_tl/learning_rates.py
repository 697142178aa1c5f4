"""The one owner of every learning rate of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import SGD, Optimizer

from lightning_tl.schedules import Schedule


class LearningRates:
    """Writes each parameter group's rate as: its own rate × schedule(step) × thaw ramp(steps since it thawed).

    The schedule runs over a shadow optimizer with one group at rate 1.0. Schedulers that keep the rates they wrote
    (cosine, one-cycle, plateau) therefore never meet the ramps, and cannot erase the ratios between groups.

    Args:
        optimizer: its groups carry `group` (the layer group's name) and their own rate as `lr`.
        schedule: the factor over time.
        total_steps: optimizer steps of the whole run.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, total_steps: int) -> None:
        self.optimizer = optimizer
        self.schedule = schedule
        self.own = [float(group["lr"]) for group in optimizer.param_groups]
        self.shadow = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
        self.shadow.step()  # torch warns when a scheduler steps before its optimizer ever did
        self.scheduler = schedule.build(self.shadow, total_steps)

    @property
    def factor(self) -> float:
        """schedule(step), the same for every group."""
        return float(self.shadow.param_groups[0]["lr"])

    def write(self, ramps: dict[str, float]) -> None:
        """Set the rates for the next optimizer step.

        Args:
            ramps: factor in [0, 1] per layer group; groups not named get 1.
        """
        for own, group in zip(self.own, self.optimizer.param_groups, strict=True):
            group["lr"] = own * self.factor * ramps.get(group["group"], 1.0)

    def by_group(self) -> dict[str, float]:
        """The rates as last written, per layer group."""
        return {group["group"]: float(group["lr"]) for group in self.optimizer.param_groups}

    def advance(self, metric: float | None = None) -> None:
        """One step of the schedule; `metric` for schedulers that watch one."""
        if metric is None:
            self.scheduler.step()
        else:
            self.scheduler.step(metric)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, safe to load with `weights_only=True`."""
        return {"scheduler": self.scheduler.state_dict(), "factor": self.factor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
        self.shadow.param_groups[0]["lr"] = state["factor"]
