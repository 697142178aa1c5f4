"""Lightning's own callbacks beside a module whose rates and groups have one owner: obeyed, or refused in one line."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BaseFinetuning, LearningRateFinder, StochasticWeightAveraging
from lightning_utilities.core.rank_zero import rank_zero_warn

from lightning_tl.compat.for_lightning import compiled_whole, searched_attribute, searches_rate, start_method
from lightning_tl.contracts.notice import Notice


def check_guests(trainer: pl.Trainer) -> None:
    """Raise ValueError for what cannot work beside the module, before anything is changed.

    Raises:
        ValueError: a callback that thaws layers behind the module's back, a search for another rate than `lr`, or
            processes that cannot be started from what is in memory.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = type(callback).__name__
        if isinstance(callback, BaseFinetuning):
            raise ValueError(
                f"{name} freezes and thaws layers behind the module's back: its parameters are in the optimizer "
                "already, and the processes of a run on several devices would drift apart. Use "
                "lightning_tl.callbacks.ProgressiveUnfreezing(milestones=[…]), which also takes groups_per_phase"
            )
        if isinstance(callback, LearningRateFinder) and searched_attribute(callback) not in ("", "lr"):
            raise ValueError(
                f"{name} searches the module's lr, from which the other rates follow, got "
                f"attr_name={searched_attribute(callback)!r}; leave attr_name out"
            )
    if compiled_whole(trainer.lightning_module):
        raise ValueError(
            "torch.compile of a whole module cannot follow what it logs: compile its backbone, "
            "module.backbone = torch.compile(module.backbone)"
        )
    check_processes(trainer)


def check_processes(trainer: pl.Trainer) -> None:
    """Raise ValueError for processes that are started from objects in memory."""
    method = start_method(trainer.strategy)
    if method != "popen":
        raise ValueError(
            f"processes started from objects in memory (ddp_spawn, ddp_fork, ddp_notebook; here '{method}') "
            "cannot hand back the trained module, its callbacks and its loaders: use strategy ddp, which "
            "runs the command again on each device"
        )


def check_one_owner(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Raise ValueError where `configure_optimizers` returned a scheduler beside the module's own schedule."""
    if configs := trainer.lr_scheduler_configs:
        kind = type(configs[0].scheduler).__name__
        raise ValueError(
            f"configure_optimizers of {type(module).__name__} returns {kind} beside self.scheduled(optimizer), and "
            "both would write the rates: return self.scheduled(optimizer) alone, with the scheduler as the module's "
            "schedule (schedule=TorchSchedule(…)), or return optimizer and scheduler without self.scheduled"
        )


def rate_under_search(trainer: pl.Trainer) -> float | None:
    """The head's rate that Lightning's learning-rate search tries in this step; None outside a search."""
    if not searches_rate(trainer):
        return None
    scheduler: Any = trainer.lr_scheduler_configs[0].scheduler
    asked = scheduler.lr
    return float(asked[0] if isinstance(asked, list) else asked)


def another_owner(trainer: pl.Trainer) -> bool:
    """Whether a scheduler came in during training, as that of StochasticWeightAveraging, and has the rates now."""
    return bool(trainer.lr_scheduler_configs)


def announce_averaging(trainer: pl.Trainer) -> None:
    """Say what weight averaging does to the rates."""
    if any(isinstance(callback, StochasticWeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        rank_zero_warn(
            "StochasticWeightAveraging sets the rates of all groups to swa_lrs from swa_epoch_start on: the module's "
            "schedule and the ratios between its groups end there",
            category=Notice,
        )
