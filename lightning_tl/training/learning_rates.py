"""The one owner of every learning rate of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch.optim import SGD, Optimizer

from lightning_tl.contracts.notice import Notice
from lightning_tl.training.schedules import Schedule


class LearningRates:
    """Writes each parameter group's rate as: its own rate * schedule(step) * thaw ramp(steps since it thawed).

    The schedule runs over a shadow optimizer with one group at rate 1.0. Schedulers that keep the rates they wrote
    (cosine, one-cycle, plateau) therefore never meet the ramps, and cannot erase the ratios between groups.

    Args:
        optimizer: its groups carry `group` (the layer group's name) and their own rate as `lr`.
        schedule: the factor over time.
        total_steps: optimizer steps of the whole run; None where the run has no end of its own.

    Raises:
        ValueError: when the schedule needs the number of steps and there is none.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, total_steps: int | None) -> None:
        if total_steps is None and schedule.needs_total_steps:
            raise ValueError(
                f"{type(schedule).__name__} needs a run of known length: set trainer.max_epochs or trainer.max_steps, "
                "or use the schedule Constant"
            )
        self.optimizer = optimizer
        self.schedule = schedule
        self.total_steps = total_steps
        self.own = [float(group["lr"]) for group in optimizer.param_groups]
        self._last: list[float] | None = None  # as written for the last step; None where others may have written since
        for number, group in enumerate(optimizer.param_groups):
            group.setdefault("group", group.get("name", f"group.{number}"))
        self._build()
        self.write({})
        self.forget_written()

    def _build(self) -> None:
        self.shadow = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
        self.scheduler = self.schedule.build(self.shadow, self.total_steps or 0)
        self.shadow.step()  # torch warns when a scheduler steps before its optimizer ever did

    def _build_at(self, done: int) -> None:
        self._build()
        for _ in range(done):
            self.scheduler.step()

    @property
    def factor(self) -> float:
        """schedule(step), the same for every group."""
        return float(self.shadow.param_groups[0]["lr"])

    def write(self, ramps: dict[str, float]) -> None:
        """Set the rates for the next optimizer step.

        Args:
            ramps: factor in [0, 1] per layer group, 0 for a frozen one; groups not named get 1.

        Raises:
            ValueError: a ramp outside [0, 1], or something else has set the rates since the last step.
        """
        if wrong := {name: ramp for name, ramp in ramps.items() if not 0 <= ramp <= 1}:
            raise ValueError(f"a ramp is a factor of a learning rate and must be in [0, 1], got {wrong}")
        self._check_untouched()
        for own, group in zip(self.own, self.optimizer.param_groups, strict=True):
            group["lr"] = own * self.factor * ramps.get(group["group"], 1.0)
        self._last = [float(group["lr"]) for group in self.optimizer.param_groups]

    def write_own(self, own: Mapping[str, float]) -> None:
        """Set these rates as they are, without schedule and ramps, for a search that tries them out."""
        for group in self.optimizer.param_groups:
            group["lr"] = own[group["group"]]
        self.forget_written()

    def forget_written(self) -> None:
        """The rates that are in the optimizer now are no one else's doing."""
        self._last = None

    def _check_untouched(self) -> None:
        groups = self.optimizer.param_groups
        for last, group in zip(self._last or [], groups, strict=False):
            if float(group["lr"]) != last:
                raise ValueError(
                    f"the learning rate of '{group['group']}' was set to {float(group['lr']):.3g} after the last step, "
                    f"which was taken at {last:.3g}, by a callback or by code of your own, and the module's schedule "
                    f"{type(self.schedule).__name__} would overwrite it: describe the warm-up or decay as the module's "
                    "`schedule` (see lightning_tl.training.schedules), or return an optimizer from "
                    "configure_optimizers without self.scheduled(...)"
                )

    def own_by_group(self, factor: float = 1.0) -> dict[str, float]:
        """Every group's own rate times `factor`."""
        groups = self.optimizer.param_groups
        return {group["group"]: own * factor for own, group in zip(self.own, groups, strict=True)}

    def rebase(self, own: Mapping[str, float]) -> None:
        """Take other own rates by group; the place in the schedule stays."""
        self.own = [own[group["group"]] for group in self.optimizer.param_groups]
        self.forget_written()

    def resize(self, total_steps: int | None) -> None:
        """Follow the schedule of a run of another length from the same step on."""
        if total_steps != self.total_steps and self.schedule.needs_total_steps:
            self.total_steps = total_steps
            self._build_at(int(self.scheduler.last_epoch))

    def by_group(self) -> dict[str, float]:
        """The rates as last written, per layer group."""
        return {group["group"]: float(group["lr"]) for group in self.optimizer.param_groups}

    def to_log(self) -> dict[str, float]:
        """The rates as last written, by the names under which they are logged."""
        return {f"lr/{name}": rate for name, rate in self.by_group().items()}

    def advance(self, metric: float | None = None) -> None:
        """One step of the schedule; `metric` for schedulers that watch one."""
        if metric is None:
            self.scheduler.step()
        else:
            self.scheduler.step(metric)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, safe to load with `weights_only=True`."""
        return {"scheduler": self.scheduler.state_dict(), "factor": self.factor, "total_steps": self.total_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was saved.

        A run that is resumed with another length keeps its place in steps but follows the schedule of the new
        length: a restored cosine would rise again past its old end, and one-cycle would raise in mid-training.
        """
        before = state["total_steps"]
        if self.schedule.needs_total_steps and before != self.total_steps:
            done = int(state["scheduler"]["last_epoch"])
            rank_zero_warn(
                f"the checkpoint belongs to a run of {before} steps and this one has {self.total_steps}: after step "
                f"{done} the learning rates follow the schedule of the new length",
                category=Notice,
            )
            self._build_at(done)
            return
        self.scheduler.load_state_dict(state["scheduler"])
        self.shadow.param_groups[0]["lr"] = state["factor"]
