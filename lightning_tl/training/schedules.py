"""How the learning rate of a whole run moves over time, as a factor of each group's own rate."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR

Interval = Literal["step", "epoch"]


class Schedule(ABC):
    """Builds a torch scheduler over an optimizer whose rate is 1.0; what comes out is the factor for every group.

    Attributes:
        interval: whether the scheduler steps after every optimizer step or after every epoch.
        monitor: a logged metric that is handed to `scheduler.step`, for schedulers such as ReduceLROnPlateau.
        needs_total_steps: whether the shape depends on the length of the run.
    """

    interval: Interval = "step"
    monitor: str | None = None
    needs_total_steps = True

    @abstractmethod
    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """The scheduler.

        Args:
            optimizer: one parameter group with learning rate 1.0.
            total_steps: optimizer steps of the whole run; 0 where `needs_total_steps` is False and it has no end.
        """


class Constant(Schedule):
    """The rates as they are."""

    needs_total_steps = False

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """See `Schedule`."""
        return LambdaLR(optimizer, lambda step: 1.0)


class CosineWithWarmup(Schedule):
    """A linear rise from near 0, then half a cosine to `floor`.

    Args:
        warmup: share of all steps spent rising, in [0, 1).
        floor: the factor at the end, in [0, 1].
    """

    def __init__(self, warmup: float = 0.1, floor: float = 0.0) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup is a share of all steps and must be in [0, 1), got {warmup}")
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be in [0, 1], got {floor}")
        self.warmup, self.floor = warmup, floor

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """See `Schedule`."""
        rising = int(self.warmup * total_steps)
        cosine = CosineAnnealingLR(optimizer, max(1, total_steps - rising), eta_min=self.floor)
        if rising == 0:
            return cosine
        warm = LinearLR(optimizer, 1 / (rising + 1), total_iters=rising)
        return SequentialLR(optimizer, [warm, cosine], milestones=[rising])


class SlantedTriangular(Schedule):
    """A short linear rise, then a long linear fall (Howard & Ruder 2018, ULMFiT, equation 3).

    Args:
        rising: share of all steps spent rising (`cut_frac`), in (0, 1).
        ratio: how many times smaller than the highest the lowest factor is, above 1.
    """

    def __init__(self, rising: float = 0.1, ratio: float = 32) -> None:
        if not 0 < rising < 1:
            raise ValueError(f"rising is a share of all steps and must be in (0, 1), got {rising}")
        if not ratio > 1:
            raise ValueError(f"ratio must be above 1, got {ratio}")
        self.rising, self.ratio = rising, ratio

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """See `Schedule`."""
        cut = max(1, int(total_steps * self.rising))
        fall = max(1, total_steps - cut)

        def factor(step: int) -> float:
            share = step / cut if step < cut else max(0.0, 1 - (step - cut) / fall)
            return (1 + share * (self.ratio - 1)) / self.ratio

        return LambdaLR(optimizer, factor)


class OneCycle(Schedule):
    """Up to the group's rate and down again (Smith & Topin 2018), as `torch.optim.lr_scheduler.OneCycleLR`.

    Only the rates cycle; the optimizer's momentum stays as it was set.

    Args:
        rising: share of all steps spent rising, in (0, 1).
    """

    def __init__(self, rising: float = 0.3) -> None:
        if not 0 < rising < 1:
            raise ValueError(f"rising is a share of all steps and must be in (0, 1), got {rising}")
        self.rising = rising

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """See `Schedule`."""
        return OneCycleLR(optimizer, max_lr=1.0, total_steps=max(2, total_steps + 1), pct_start=self.rising)


class TorchSchedule(Schedule):
    """Any torch scheduler, over rates that are factors: a `min_lr` or `eta_min` of 0.01 means 1% of a group's rate.

    Lengths such as `T_max` count what `interval` says: optimizer steps or epochs.

    Args:
        scheduler: for example `torch.optim.lr_scheduler.ReduceLROnPlateau` with its arguments.
        interval: when it steps.
        monitor: the metric that a plateau scheduler watches; it then steps after every validation.
    """

    needs_total_steps = False

    def __init__(
        self,
        scheduler: Callable[[Optimizer], LRScheduler],
        interval: Interval = "epoch",
        monitor: str | None = None,
    ) -> None:
        if interval not in ("step", "epoch"):
            raise ValueError(f"interval must be step or epoch, got {interval!r}")
        self.scheduler, self.interval, self.monitor = scheduler, interval, monitor

    def build(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        """See `Schedule`."""
        scheduler = self.scheduler(optimizer)
        name = type(scheduler).__name__
        watches = "metrics" in inspect.signature(scheduler.step).parameters
        if watches and self.monitor is None:
            raise ValueError(f"{name} needs a metric: set monitor, for example monitor: val_loss")
        if self.monitor is not None and not watches:
            raise ValueError(f"monitor is {self.monitor!r}, but {name} watches no metric; leave monitor out")
        return scheduler
