"""`ScheduledModule`: a LightningModule whose learning rates have one owner and survive a resume exactly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from lightning_tl.contracts.batches import batch_size, sample_numbers
from lightning_tl.training.guests import (
    announce_averaging,
    another_owner,
    check_guests,
    check_one_owner,
    rate_under_search,
)
from lightning_tl.training.learning_rates import LearningRates
from lightning_tl.training.monitors import check_after_an_epoch, check_before_training, require_metric
from lightning_tl.training.rate_rules import RateRules, rate_rules
from lightning_tl.training.schedules import CosineWithWarmup, Schedule


class ScheduledModule(pl.LightningModule):
    """Base of everything that trains here: steps the schedule, keeps its state, and stops when the loss is no number.

    `configure_optimizers` of a subclass returns `self.scheduled(optimizer)`; `training_step` calls `log_training`.

    Args:
        schedule: how all rates move together.
    """

    def __init__(self, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.schedule = schedule or CosineWithWarmup()
        self.rates: LearningRates | None = None
        self._rules: list[RateRules] = []  # of the fit that is running
        self._lr_of_rates: float | None = None  # the module's lr from which `rates` were made
        self._rates_state: dict[str, Any] | None = None
        self._validated: frozenset[str] = frozenset()  # what the trial validation of this fit logged
        self._monitors_checked = False

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        # Lightning's first question of all, before any callback has changed the module.
        if self.trainer.state.fn == "fit":
            check_guests(self.trainer)
            self._validated, self._monitors_checked = frozenset(), False
            self.rates, self._rules, self._lr_of_rates = None, rate_rules(self.trainer), None
        return super().configure_callbacks()

    def scheduled(self, optimizer: Optimizer) -> Optimizer:
        """Take over the rates of `optimizer`; its groups name their layer group as `group`."""
        self.rates = LearningRates(optimizer, self.schedule, self._total_steps)
        self._lr_of_rates = getattr(self, "lr", None)
        if self._rates_state is not None:
            self.rates.load_state_dict(self._rates_state)
            self._rates_state = None
        return optimizer

    @property
    def _total_steps(self) -> int | None:
        steps = self.trainer.estimated_stepping_batches
        return None if math.isinf(steps) else int(steps)

    def rates_for(self, lr: float) -> dict[str, float]:
        """Every group's own rate if the module's `lr` were this: all of them move together, so their ratios stay."""
        assert self.rates is not None and self._lr_of_rates is not None
        return self.rates.own_by_group(lr / self._lr_of_rates)

    def log_training(self, loss: Tensor, batch: Any) -> None:
        """Log the loss, and the rates in the steps that loggers get.

        Raises:
            FloatingPointError: when the loss is not finite, with the ids of the batch's samples.
        """
        if not torch.isfinite(loss):
            ids = sample_numbers(batch)
            describe = getattr(self.trainer.datamodule, "sample_ids", None)  # type: ignore[attr-defined]
            names = describe(ids) if describe is not None and ids else [str(number) for number in ids] or ["unnumbered"]
            batch_number = self.trainer.fit_loop.batch_idx
            raise FloatingPointError(
                f"the loss is {loss.item()} at epoch {self.current_epoch}, batch {batch_number}; samples: "
                f"{', '.join(map(str, names))}. The last checkpoint is from before this batch. "
                "Try a lower learning rate, gradient clipping (--trainer.gradient_clip_val=1), or look at these samples"
            )
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=batch_size(batch))
        if self.rates is not None and self.logs_now:  # Lightning drops the others, at a cost for each group and step
            self.log_dict({f"lr/{name}": rate for name, rate in self.rates.by_group().items()}, on_step=True)

    @property
    def logs_now(self) -> bool:
        """Whether loggers get the numbers of this training step."""
        return (self.trainer.global_step + 1) % self._logging_interval == 0

    @property
    def _logging_interval(self) -> int:
        """Of which training steps loggers get the numbers: of each one whose number this divides."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return max(1, every)

    def on_fit_start(self) -> None:
        # Weights that were loaded arrive in evaluation mode, and Lightning leaves modes as they are: without this a
        # fine-tuned backbone trains without its dropout. Frozen groups go back to evaluation mode on purpose.
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
        self.train()
        if self.rates is None:
            return
        check_one_owner(self.trainer, self)
        announce_averaging(self.trainer)
        self.rates.resize(self._total_steps)  # another batch size may have been found
        self._follow_lr()

    def on_validation_end(self) -> None:
        if self.trainer.sanity_checking:
            self._validated = frozenset(self.trainer.callback_metrics)

    def on_train_start(self) -> None:
        check_before_training(self.trainer, self.schedule.monitor, self._validated)
        if self.rates is not None:
            self.rates.forget_written()  # the optimizer's state may have come from a checkpoint

    def _follow_lr(self) -> None:
        """Take over a learning rate that was found and set on the module, with the ratios between groups."""
        lr = getattr(self, "lr", None)
        if self.rates is not None and self._lr_of_rates is not None and lr is not None and lr != self._lr_of_rates:
            self.rates.rebase(self.rates_for(lr))
            self._lr_of_rates = lr

    def _set_rates(self) -> bool:
        """Set the rates of the next step; whether the schedule moves on after it."""
        if self.rates is None or another_owner(self.trainer):
            asked = rate_under_search(self.trainer)
            if self.rates is not None and asked is not None:
                self.rates.write_own(self.rates_for(asked))
            return False
        self._follow_lr()
        ramps: dict[str, float] = {}
        for rules in self._rules:
            for name, ramp in rules.ramps(self.trainer.global_step).items():
                ramps[name] = ramps.get(name, 1.0) * ramp
        self.rates.write(ramps)
        return True

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        ours = self._set_rates()
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if ours and self.rates is not None and self.schedule.interval == "step" and self.schedule.monitor is None:
            self.rates.advance()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        # Lightning divides by accumulate_grad_batches also where an epoch's last step has fewer batches.
        if self.automatic_optimization and (factor := self._short_step) != 1:
            loss = loss * factor
        super().backward(loss, *args, **kwargs)

    @property
    def _short_step(self) -> float:
        """accumulate_grad_batches over the number of batches of this step."""
        wanted, batches = self.trainer.accumulate_grad_batches, self.trainer.num_training_batches
        first = self.trainer.fit_loop.batch_idx // wanted * wanted
        return wanted / min(wanted, batches - first) if batches > first else 1.0

    def on_train_epoch_end(self) -> None:
        if self.rates is not None and self.trainer.global_step < self._logging_interval:
            # No step was logged so far: without this a run shorter than the interval has no rates at all.
            self.log_dict({f"lr/{name}": rate for name, rate in self.rates.by_group().items()}, on_epoch=True)
        if not self._monitors_checked:
            check_after_an_epoch(self.trainer, self.schedule.monitor)
            self._monitors_checked = True
        if self.rates is not None and self.schedule.interval == "epoch" and self.schedule.monitor is None:
            self.rates.advance()

    def on_validation_epoch_end(self) -> None:
        # A plateau scheduler steps here and not in Lightning's loop, which loses a step in a resumed epoch.
        monitor = self.schedule.monitor
        if monitor is None or self.rates is None or self.trainer.state.fn != "fit" or self.trainer.sanity_checking:
            return
        metrics = self.trainer.callback_metrics
        require_metric("the schedule monitors", monitor, list(metrics))
        self.rates.advance(float(metrics[monitor]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.rates is not None:
            checkpoint["learning_rates"] = self.rates.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Only a resumed fit continues the schedule; tests and `load_from_checkpoint` must leave the next fit alone.
        if self._trainer is None or self._trainer.state.fn != "fit":
            return
        self._rates_state = checkpoint.get("learning_rates")
        if self._rates_state is not None and self.rates is not None:  # strategies that restore after their setup
            self.rates.load_state_dict(self._rates_state)
            self._rates_state = None
