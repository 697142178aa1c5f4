"""`TrainedModule`: the LightningModule that everything that trains here is."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import batch_size
from lightning_tl.contracts.layer_groups import LayerGroup
from lightning_tl.training.accumulation import short_step
from lightning_tl.training.ddp import rebuild_ddp
from lightning_tl.training.finite_loss import check_finite
from lightning_tl.training.frozen_weights import put_back
from lightning_tl.training.guests import (
    announce_averaging,
    check_guests,
    check_one_owner,
)
from lightning_tl.training.learning_rates import LearningRates
from lightning_tl.training.logging_steps import is_logged, none_was_logged
from lightning_tl.training.monitors import check_after_an_epoch, check_before_training
from lightning_tl.training.parameter_groups import check_rates, parameter_groups
from lightning_tl.training.rate_owner import RateOwner
from lightning_tl.training.rate_rules import check_rules_are_heard, scaled_rates
from lightning_tl.training.schedules import CosineWithWarmup, Schedule
from lightning_tl.training.training_groups import Tower, TrainingGroups

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]


class TrainedModule(pl.LightningModule):
    """Its learning rates have one owner and survive a resume exactly; training stops when the loss is no number.

    `training_step` of a subclass calls `log_training`. One that adapts backbones has `towers` and `layer_groups`, and
    calls `begin_training_rules` when all parameters are there: checkpoints then leave out what does not train, see
    `TrainingGroups` and `FrozenWeights`. Another one returns `self.scheduled(optimizer)` as its optimizer.

    Args:
        lr: learning rate of everything outside the backbones.
        layer_decay: each group's rate is this times the rate of the group after it, in (0, 1].
        weight_decay: not applied to biases, norms and other parameters with fewer than two dimensions, nor to
            class tokens and position embeddings.
        schedule: how all rates move together.
        optimizer: builds the optimizer from parameter groups.
    """

    adapt_batch_norm = False  # whether statistics of frozen BatchNorm layers follow the data

    def __init__(
        self,
        lr: float = 1e-3,
        layer_decay: float = 1.0,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        optimizer: OptimizerFactory = AdamW,
    ) -> None:
        super().__init__()
        check_rates(lr, None, layer_decay, weight_decay)
        self.lr, self.layer_decay, self.weight_decay = lr, layer_decay, weight_decay
        self.make_optimizer = optimizer
        self._rates = RateOwner(schedule or CosineWithWarmup())
        self._groups: TrainingGroups | None = None
        self._asked_for_rates = False
        self._validated: frozenset[str] = frozenset()  # what the trial validation of this fit logged
        self._monitors_checked = False

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        # Lightning's first question of all, before any callback has changed the module.
        if self.trainer.state.fn == "fit":
            check_guests(self.trainer)
            self._validated, self._monitors_checked = frozenset(), False
            self._rates.begin_fit(self.trainer)
            self._asked_for_rates = False
        return super().configure_callbacks()

    # ---------------------------------------------------------------- which layer groups train

    def towers(self) -> list[Tower]:
        """The backbones that are adapted, each with its adaptation."""
        return []

    def layer_groups(self) -> list[LayerGroup]:
        """All parameters, each in one group, ordered from input to output."""
        raise NotImplementedError(f"{type(self).__name__} has no layer groups")

    @classmethod
    def has_layer_groups(cls) -> bool:
        """Whether callbacks can choose among its layer groups."""
        return cls.layer_groups is not TrainedModule.layer_groups

    def begin_training_rules(self) -> None:
        """From now on `requires_grad` says what the adaptations let train.

        Raises:
            ValueError: a parameter lies in no group, or in several.
        """
        self._groups = TrainingGroups(self, self.layer_groups(), self.towers())

    def _built(self) -> TrainingGroups:
        assert self._groups is not None, "made in configure_model"
        return self._groups

    @property
    def is_built(self) -> bool:
        """Whether all parameters are there."""
        return self._groups is not None

    @property
    def adapted_parameters(self) -> frozenset[str]:
        """Names of the parameters that the adaptations let train at all."""
        return frozenset() if self._groups is None else self._groups.adapted

    @property
    def frozen_digest(self) -> str | None:
        """Hash of the pretrained weights that no adaptation trains; None where there are none."""
        return None if self._groups is None else self._groups.frozen.digest

    @property
    def reachable_groups(self) -> list[str]:
        """Names of the groups that the adaptations let train at all, ordered from input to output."""
        return [group.name for group in self.layer_groups() if group.name in self._built().reachable]

    @property
    def trainable_groups(self) -> list[str]:
        """Names of the groups that train now."""
        return [group.name for group in self.layer_groups() if group.name in self._built().trainable]

    def set_trainable(self, names: Iterable[str], adapt_batch_norm: bool | None = None) -> None:
        """Let exactly these of the reachable groups train, now.

        Call it only between two optimizer steps.

        Args:
            names: of layer groups.
            adapt_batch_norm: in place of the attribute of this name.
        """
        changed = self._built().let_train(self, self.layer_groups(), names, adapt_batch_norm)
        self.train(self.training)
        if changed and self._trainer is not None:
            rebuild_ddp(self._trainer)

    def give_back(self, names: Iterable[str]) -> None:
        """After a fit: let these groups train as before it. Modes stay until the next `train` or `eval`."""
        self._built().let_train(self, self.layer_groups(), names, None)

    def train(self, mode: bool = True) -> TrainedModule:
        super().train(mode)
        if mode and self._groups is not None:
            self._groups.rest(self.layer_groups(), self.adapt_batch_norm)
        return self

    # ---------------------------------------------------------------- learning rates

    def base_rates(self) -> dict[str, float]:
        """Every reachable group's rate from the towers' rates and `layer_decay`, before any callback's scale."""
        return self._built().base_rates(self.layer_groups(), self.towers(), self.lr, self.layer_decay)

    def group_rates(self) -> dict[str, float]:
        """Every reachable group's own rate, before schedule and ramps."""
        self._asked_for_rates = True
        return scaled_rates(self._rates.rules, self._reachable_layers(), self.base_rates())

    def _reachable_layers(self) -> list[LayerGroup]:
        return [group for group in self.layer_groups() if group.name in self._built().reachable]

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer of your own: `return self.scheduled(SGD(self.optimizer_groups()))`."""
        adapted = self.adapted_parameters
        return parameter_groups(self, self.layer_groups(), self.group_rates(), adapted, self.weight_decay)

    def configure_optimizers(self) -> Optimizer:
        return self.scheduled(self.make_optimizer(self.optimizer_groups()))

    def scheduled(self, optimizer: Optimizer) -> Optimizer:
        """Take over the rates of `optimizer`; its groups name their layer group as `group`."""
        self._rates.take(optimizer, self._total_steps, self.lr)
        return optimizer

    @property
    def schedule(self) -> Schedule:
        """How all rates move together."""
        return self._rates.schedule

    @schedule.setter
    def schedule(self, schedule: Schedule) -> None:
        self._rates.schedule = schedule

    @property
    def rates(self) -> LearningRates | None:
        """Those of this fit's optimizer; None where an own `configure_optimizers` keeps them."""
        return self._rates.rates

    @property
    def _total_steps(self) -> int | None:
        steps = self.trainer.estimated_stepping_batches
        return None if math.isinf(steps) else int(steps)

    def rates_for(self, lr: float) -> dict[str, float]:
        """Every group's own rate if the module's `lr` were this: all of them move together, so their ratios stay."""
        rates = self._rates.scaled(lr)
        if self._groups is None:
            return rates
        before, self.lr = self.lr, lr
        try:
            return rates | self.group_rates()
        finally:
            self.lr = before

    # ---------------------------------------------------------------- training

    def log_training(self, loss: Tensor, batch: Any) -> None:
        """Log the loss, and the rates in the steps that loggers get.

        Raises:
            FloatingPointError: when the loss is not finite, with the ids of the batch's samples.
        """
        check_finite(loss, batch, self.trainer)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=batch_size(batch))
        if self.rates is not None and self.logs_now:  # of the others it would cost something for each group
            self.log_dict(self.rates.to_log(), on_step=True)

    @property
    def logs_now(self) -> bool:
        """Whether loggers get the numbers of this training step."""
        return is_logged(self.trainer)

    def on_fit_start(self) -> None:
        # Loaded weights arrive in evaluation mode, which leaves out dropout. Frozen groups go back to it on purpose.
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
        self.train()
        if self._groups is not None and (self.rates is None or not self._asked_for_rates):
            layers = self._reachable_layers()
            check_rules_are_heard(self, self._rates.rules, layers, self._asked_for_rates, self.rates is not None)
        if self.rates is None:
            return
        check_one_owner(self.trainer, self)
        announce_averaging(self.trainer)
        self.rates.resize(self._total_steps)  # another batch size may have been found
        self._rates.follow(self.lr, self.rates_for)

    def on_validation_end(self) -> None:
        if self.trainer.sanity_checking:
            self._validated = frozenset(self.trainer.callback_metrics)

    def on_train_start(self) -> None:
        check_before_training(self.trainer, self.schedule.monitor, self._validated)
        if self.rates is not None:
            self.rates.forget_written()  # the optimizer's state may have come from a checkpoint
        if self._groups is not None:
            self._groups.frozen.note_training(self._backbones())

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        ours = self._rates.write(self.trainer, self.lr, self.rates_for)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if ours:
            self._rates.advance("step")

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        # Lightning divides by accumulate_grad_batches also where an epoch's last step has fewer batches.
        if self.automatic_optimization and (factor := short_step(self.trainer)) != 1:
            loss = loss * factor
        super().backward(loss, *args, **kwargs)

    def on_train_epoch_end(self) -> None:
        if self.rates is not None and none_was_logged(self.trainer):
            self.log_dict(self.rates.to_log(), on_epoch=True)
        if not self._monitors_checked:
            check_after_an_epoch(self.trainer, self.schedule.monitor)
            self._monitors_checked = True
        self._rates.advance("epoch")

    def on_validation_epoch_end(self) -> None:
        self._rates.advance_by_metric(self.trainer)

    # ---------------------------------------------------------------- checkpoints

    def _backbones(self) -> dict[str, Backbone]:
        return {tower.path: tower.backbone for tower in self.towers()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._rates.save(checkpoint)
        if self._groups is not None:
            self._groups.frozen.leave_out(checkpoint, self, self._backbones())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses, by ValueError, a checkpoint that was made beside other frozen weights than the backbones have."""
        # Only a resumed fit continues the schedule; tests and `load_from_checkpoint` must leave the next fit alone.
        if self._trainer is not None and self._trainer.state.fn == "fit":
            self._rates.load(checkpoint)
        put_back(checkpoint, self, self._backbones(), None if self._groups is None else self._groups.frozen)
