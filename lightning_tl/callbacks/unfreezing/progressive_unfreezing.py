"""Thaw a pretrained backbone step by step, from the output to the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, LearningRateFinder
from lightning_utilities.core.rank_zero import rank_zero_info

from lightning_tl.callbacks.discriminative_learning_rates import (
    check_decay,
    decayed_scales,
    transfer_module,
)
from lightning_tl.callbacks.phase_boundary import (
    PhaseBoundary,
    place_before_checkpoints,
    reset_patience,
    take_back_early_stop,
)
from lightning_tl.callbacks.unfreezing.best_weights import BestWeights
from lightning_tl.callbacks.unfreezing.phase_checks import check_alone, check_lengths, check_something_thaws
from lightning_tl.callbacks.unfreezing.phase_trigger import Milestones, StoppedImproving, phase_trigger
from lightning_tl.contracts.layer_groups import HEAD, LayerGroup, is_outside
from lightning_tl.training.monitors import require_metric
from lightning_tl.training.rate_rules import RateRules
from lightning_tl.training.trained_module import TrainedModule


class ProgressiveUnfreezing(Callback, RateRules):
    """Train the head first, then thaw one group after the other (Howard & Ruder 2018, ULMFiT, section 3.3).

    In phase 0 the head trains alone; each further phase also thaws the next `groups_per_phase` groups of the backbone,
    from the last to the first, as far as the module's adaptation lets them train. Phases change only between epochs.
    What trains is a function of the phase alone and the phase is saved with checkpoints, so that a resumed run has the
    same groups thawed. Give one of `epochs_per_phase`, `milestones` and `monitor`.

    `EarlyStopping` beside it ends a phase, and only in the last phase the training: its patience starts anew.

    Args:
        epochs_per_phase: length of each phase; 1 where neither `milestones` nor `monitor` is given.
        milestones: the epochs, from 0, with which phases 1, 2, … start.
        monitor: the phase ends when this metric, measured in validation, stops improving.
        mode: `min` or `max`, of `monitor`.
        patience: validations without improvement after which a phase ends.
        min_delta: a smaller change of `monitor` is no improvement.
        groups_per_phase: how many groups each phase thaws.
        decay: sets rates as `DiscriminativeLearningRates(decay)` does; None leaves them alone.
        warmup_steps: optimizer steps over which the rates of newly thawed groups rise linearly.
        adapt_batch_norm: let the running statistics of frozen BatchNorm layers follow the new data.
        restore_best: before a phase ends, return to the weights with its best `monitor`. The optimizer's moments stay.

    Attributes:
        phase: the current one, from 0.
        history: one entry per phase that has begun: `phase`, `epoch` and `step` of its start, the `groups` that train,
            and the `reason` why the phase before ended.
    """

    def __init__(
        self,
        epochs_per_phase: int | None = None,
        milestones: list[int] | None = None,
        monitor: str | None = None,
        mode: str = "min",
        patience: int = 2,
        min_delta: float = 0.0,
        groups_per_phase: int = 1,
        decay: float | None = None,
        warmup_steps: int = 0,
        adapt_batch_norm: bool = False,
        restore_best: bool = False,
    ) -> None:
        if groups_per_phase < 1:
            raise ValueError(f"groups_per_phase must be at least 1, got {groups_per_phase}")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {warmup_steps}")
        if restore_best and monitor is None:
            raise ValueError("restore_best needs a metric that says what is best: set monitor, for example val_loss")
        self.trigger = phase_trigger(epochs_per_phase, milestones, monitor, mode, patience, min_delta)
        self.groups_per_phase = groups_per_phase
        self.decay = None if decay is None else check_decay(decay)
        self.warmup_steps = warmup_steps
        self.adapt_batch_norm = adapt_batch_norm
        self.restore_best = restore_best
        self.phase = 0
        self.history: list[dict[str, Any]] = []
        self._measured: float | None = None  # the monitored metric in this epoch
        self._best = BestWeights()
        self._backbone: list[str] = []  # reachable groups of the backbone itself, input -> output
        self._outside: list[str] = [HEAD]
        self._before: tuple[TrainedModule, list[str]] | None = None  # the module, and what trained before this fit
        self._boundary = PhaseBoundary(self._end_epoch)

    # ---------------------------------------------------------------- what trains in which phase

    @property
    def last_phase(self) -> int:
        """Number of the phase in which everything reachable trains, or the last that a milestone starts."""
        phases = -(-len(self._backbone) // self.groups_per_phase)
        return min(phases, len(self.trigger.milestones)) if isinstance(self.trigger, Milestones) else phases

    def groups_in(self, phase: int) -> list[str]:
        """Names of the groups that train in a phase, ordered from input to output."""
        thawed = min(phase * self.groups_per_phase, len(self._backbone))
        return [*self._backbone[len(self._backbone) - thawed :], *self._outside]

    def rate_scales(self, groups: Sequence[LayerGroup], base_rates: Mapping[str, float]) -> dict[str, float]:
        """Scale of each group's rate: see `decayed_scales`."""
        return {} if self.decay is None else decayed_scales(groups, self.decay)

    def needs_steps(self) -> bool:
        """Whether rates change between epochs."""
        return self.warmup_steps > 0

    def ramps(self, step: int) -> dict[str, float]:
        """Factor of each group's learning rate: 0 while frozen, then rising over `warmup_steps` after its thaw.

        Args:
            step: optimizer steps done so far in the run.
        """
        factors = dict.fromkeys(self._backbone, 0.0)
        for before, entry in zip([[], *(e["groups"] for e in self.history)], self.history, strict=False):
            risen = min(1.0, max(0, step - entry["step"] + 1) / (self.warmup_steps + 1))
            new = set(entry["groups"]) - set(before)
            factors |= {name: risen if entry["phase"] > 0 else 1.0 for name in new}
        return factors

    # ---------------------------------------------------------------- set up, and again after a resume

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take one's place among the callbacks, before the optimizer is built."""
        if stage != "fit":
            return
        module = transfer_module(pl_module, self)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        check_alone(self, module, callbacks)
        self._start_anew()
        self._end(trainer)
        place_before_checkpoints(trainer, self._boundary)
        place_before_checkpoints(trainer, *(c for c in callbacks if isinstance(c, LearningRateFinder)))

    def _start_anew(self) -> None:
        """Phase 0: the callback may have been in another fit."""
        self.phase, self.history, self._measured = 0, [], None
        self._backbone, self._outside = [], [HEAD]
        self._best = BestWeights()
        self.trigger.reset()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the module as it was found, for a second fit."""
        self._end(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the module as it was found, for a second fit."""
        self._end(trainer)

    def _end(self, trainer: pl.Trainer) -> None:
        """Give the module back as it was."""
        if self._before is not None:
            self._before[0].give_back(self._before[1])
            self._before = None
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if self._boundary in callbacks:
            trainer.callbacks = [c for c in callbacks if c is not self._boundary]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lay out the phases.

        Raises:
            ValueError: nothing would thaw, or the phases do not fit the run.
        """
        module = transfer_module(pl_module, self)
        self._backbone = [name for name in module.reachable_groups if not is_outside(name)]
        self._outside = [name for name in module.reachable_groups if is_outside(name)]
        check_something_thaws(module, self._backbone)
        check_lengths(self, trainer, self._backbone)
        self._before = (module, module.trainable_groups)
        self._apply(trainer, module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let train what belongs to the phase."""
        # The state is here by now with every strategy, and a run that resumes in mid-epoch has no epoch start.
        self._apply(trainer, transfer_module(pl_module, self))

    on_train_epoch_start = on_train_start

    def _apply(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        groups = self.groups_in(self.phase)
        if not self.history:
            self._begin(trainer, module, trainer.current_epoch, "training starts")
        elif self.history[-1]["groups"] != groups:
            raise ValueError(
                f"the checkpoint was in phase {self.phase} with the groups {', '.join(self.history[-1]['groups'])}, "
                f"but groups_per_phase={self.groups_per_phase} and the adaptation now give {', '.join(groups)}; resume "
                "with the settings of the run that wrote it"
            )
        module.set_trainable(groups, self.adapt_batch_norm or None)

    # ---------------------------------------------------------------- from phase to phase

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the monitored metric.

        Raises:
            ValueError: nothing of that name is logged.
        """
        monitor = self.trigger.monitor
        if monitor is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        require_metric("unfreezing monitors", monitor, list(trainer.callback_metrics))
        # Rank 0 decides: a metric that was not reduced over ranks must not send them into different phases.
        self._measured = float(trainer.strategy.broadcast(float(trainer.callback_metrics[monitor])))

    def _end_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = transfer_module(pl_module, self)
        measured, self._measured = self._measured, None
        first_epoch = self.history[-1]["epoch"]
        reason = self.trigger.reason(self.phase, first_epoch, trainer.current_epoch, measured)
        if self.phase >= self.last_phase or self._run_ends(trainer):
            return
        improved = isinstance(self.trigger, StoppedImproving) and self.trigger.improved
        if self.restore_best and measured is not None and improved:
            self._best.keep(module)
        stopped = take_back_early_stop(trainer)
        reason = reason or stopped
        if reason is None:
            return
        self._best.restore(module)
        self.phase += 1
        self.trigger.reset()
        reset_patience(trainer)
        self._begin(trainer, module, trainer.current_epoch + 1, reason)
        module.set_trainable(self.groups_in(self.phase), self.adapt_batch_norm or None)

    @staticmethod
    def _run_ends(trainer: pl.Trainer) -> bool:
        epochs, steps = trainer.max_epochs, trainer.max_steps
        return (epochs is not None and 0 < epochs <= trainer.current_epoch + 1) or 0 < steps <= trainer.global_step

    def _begin(self, trainer: pl.Trainer, module: TrainedModule, epoch: int, reason: str) -> None:
        groups = self.groups_in(self.phase)
        self.history.append(
            {"phase": self.phase, "epoch": epoch, "step": trainer.global_step, "groups": groups, "reason": reason}
        )
        names = ", ".join(groups)
        rank_zero_info(f"Phase {self.phase} of {self.last_phase} from epoch {epoch} ({reason}): training {names}")

    # ---------------------------------------------------------------- in checkpoints: plain numbers and tensors

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "phase": self.phase,
            "history": self.history,
            "measured": self._measured,
            "trigger": self.trigger.state_dict(),
            "best_weights": self._best.weights,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.phase = state_dict["phase"]
        self.history = [dict(entry) for entry in state_dict["history"]]
        self._measured = state_dict["measured"]
        self.trigger.load_state_dict(state_dict["trigger"])
        self._best.weights = dict(state_dict["best_weights"])
