"""`RateOwner`: the one place that says what the learning rates of the next step are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from torch.optim import Optimizer

from lightning_tl.training.guests import another_owner, rate_under_search
from lightning_tl.training.learning_rates import LearningRates
from lightning_tl.training.monitors import require_metric
from lightning_tl.training.rate_rules import RateRules, rate_rules
from lightning_tl.training.schedules import Schedule

OwnRates = Callable[[float], dict[str, float]]  # every group's own rate, if the module's `lr` were this


class RateOwner:
    """Rates of a module through its fits: groups' own rates × schedule × ramps of callbacks, which are asked anew.

    Args:
        schedule: how all rates move together.

    Attributes:
        rates: of the optimizer that was taken over in this fit; None where an own `configure_optimizers` keeps it.
        rules: what callbacks of this fit say of rates.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.rates: LearningRates | None = None
        self.rules: list[RateRules] = []
        self._lr: float | None = None  # the module's, from which `rates` were made
        self._state: dict[str, Any] | None = None  # of a checkpoint, for the optimizer to come

    def begin_fit(self, trainer: pl.Trainer) -> None:
        """Forget the last fit."""
        self.rates, self.rules, self._lr = None, rate_rules(trainer), None

    def take(self, optimizer: Optimizer, total_steps: int | None, lr: float) -> None:
        """From now on the rates of `optimizer` are written here alone."""
        self.rates, self._lr = LearningRates(optimizer, self.schedule, total_steps), lr
        if self._state is not None:
            self.rates.load_state_dict(self._state)
            self._state = None

    def scaled(self, lr: float) -> dict[str, float]:
        """Every group's own rate if the module's `lr` were this: all of them move together, so their ratios stay."""
        assert self.rates is not None and self._lr is not None
        return self.rates.own_by_group(lr / self._lr)

    def follow(self, lr: float, own: OwnRates) -> None:
        """Take over a learning rate that was found and set on the module, with the ratios between groups."""
        if self.rates is not None and self._lr is not None and lr != self._lr:
            self.rates.rebase(own(lr))
            self._lr = lr

    def write(self, trainer: pl.Trainer, lr: float, own: OwnRates) -> bool:
        """Set the rates of the next step; whether the schedule moves on after it."""
        if self.rates is None or another_owner(trainer):
            asked = rate_under_search(trainer)
            if self.rates is not None and asked is not None:
                self.rates.write_own(own(asked))
            return False
        self.follow(lr, own)
        ramps: dict[str, float] = {}
        for rules in self.rules:
            for name, ramp in rules.ramps(trainer.global_step).items():
                ramps[name] = ramps.get(name, 1.0) * ramp
        self.rates.write(ramps)
        return True

    def advance(self, interval: str) -> None:
        """A step or an epoch is done."""
        if self.rates is not None and self.schedule.interval == interval and self.schedule.monitor is None:
            self.rates.advance()

    def advance_by_metric(self, trainer: pl.Trainer) -> None:
        """A validation is done.

        Raises:
            ValueError: the metric that the schedule watches was not logged.
        """
        # A plateau scheduler steps here and not in Lightning's loop, which loses a step in a resumed epoch.
        monitor = self.schedule.monitor
        if monitor is None or self.rates is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics
        require_metric("the schedule monitors", monitor, list(metrics))
        self.rates.advance(float(metrics[monitor]))

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write the place in the schedule into a checkpoint."""
        if self.rates is not None:
            checkpoint["learning_rates"] = self.rates.state_dict()

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Go on from the place in the schedule that a checkpoint has."""
        self._state = checkpoint.get("learning_rates")
        if self._state is not None and self.rates is not None:  # strategies that restore after their setup
            self.rates.load_state_dict(self._state)
            self._state = None
