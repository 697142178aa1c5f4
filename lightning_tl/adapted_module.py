"""`AdaptedModule`: what a LightningModule needs whose backbones are adapted, one or several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

from lightning_tl.adaptation import Adaptation
from lightning_tl.backbones.base import Backbone
from lightning_tl.ddp import rebuild_ddp
from lightning_tl.layer_groups import (
    LayerGroup,
    check_partition,
    depths,
    frozen_to_eval,
    is_outside,
    set_requires_grad,
)
from lightning_tl.parameter_groups import check_rates, parameter_groups
from lightning_tl.schedules import Schedule
from lightning_tl.trained_weights import TrainedWeightsModule

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]


@dataclass(frozen=True)
class Tower:
    """A backbone of a module, and how it is trained.

    Args:
        path: of the backbone's attribute in the module, such as `backbone`.
        backbone: as in the module.
        adaptation: what of it is trained.
        lr: learning rate of its last layer group; None for the head's times the adaptation's `rate`.
        name: put before the names of its layer groups; empty where a module has one backbone.
    """

    path: str
    backbone: Backbone
    adaptation: Adaptation
    lr: float | None = None
    name: str = ""

    def layer_groups(self) -> list[LayerGroup]:
        """The adapted backbone's groups, as seen from the module."""
        return [group.prefixed(self.path, self.name) for group in self.adaptation.layer_groups(self.backbone)]


class AdaptedModule(TrainedWeightsModule):
    """Which layer groups train, and at what rate.

    A subclass names its backbones in `towers`, lists all groups in `layer_groups`, and calls `begin_training_rules`
    when all its parameters are there.

    Args:
        lr: learning rate of everything outside the backbones.
        layer_decay: each group's rate is this times the rate of the group after it, in (0, 1].
        weight_decay: not applied to biases, norms and other parameters with fewer than two dimensions, nor to
            class tokens and position embeddings.
        schedule: how all rates move together.
        optimizer: builds the optimizer from parameter groups.
    """

    adapt_batch_norm = False  # set by ProgressiveUnfreezing

    def __init__(
        self,
        lr: float = 1e-3,
        layer_decay: float = 1.0,
        weight_decay: float = 0.05,
        schedule: Schedule | None = None,
        optimizer: OptimizerFactory = AdamW,
    ) -> None:
        super().__init__(schedule)
        check_rates(lr, None, layer_decay, weight_decay)
        self.lr, self.layer_decay, self.weight_decay = lr, layer_decay, weight_decay
        self.make_optimizer = optimizer
        self.rate_scales: Callable[[list[LayerGroup]], dict[str, float]] | None = None  # set by callbacks
        self._trainable: frozenset[str] = frozenset()
        self._reachable: frozenset[str] = frozenset()  # groups that the adaptations let train

    @abstractmethod
    def towers(self) -> list[Tower]:
        """The backbones, each with its adaptation."""

    @abstractmethod
    def layer_groups(self) -> list[LayerGroup]:
        """All parameters, each in one group, ordered from input to output."""

    def backbones(self) -> dict[str, Backbone]:
        return {tower.path: tower.backbone for tower in self.towers()}

    def begin_training_rules(self) -> None:
        """From now on `requires_grad` says what the adaptations let train.

        Raises:
            ValueError: a parameter lies in no group, or in several.
        """
        groups = self.layer_groups()
        check_partition(self, groups)
        self._adapted = frozenset(name for name, parameter in self.named_parameters() if parameter.requires_grad)
        self._reachable = frozenset(group.name for group in groups if group.parameter_names & self._adapted)
        self._trainable = self._reachable
        self.note_frozen()

    # ---------------------------------------------------------------- what is trained

    @property
    def reachable_groups(self) -> list[str]:
        """Names of the groups that the adaptations let train at all, ordered from input to output."""
        return [group.name for group in self.layer_groups() if group.name in self._reachable]

    @property
    def trainable_groups(self) -> list[str]:
        """Names of the groups that train now."""
        return [group.name for group in self.layer_groups() if group.name in self._trainable]

    def set_trainable(self, names: Iterable[str]) -> None:
        """Let exactly these of the reachable groups train, now.

        Call it only between two optimizer steps.
        """
        self._trainable = frozenset(names) & self._reachable
        changed = set_requires_grad(self, self.layer_groups(), self._trainable, within=self._adapted)
        self.train(self.training)
        if changed and self._trainer is not None:
            rebuild_ddp(self._trainer)

    def train(self, mode: bool = True) -> AdaptedModule:
        super().train(mode)
        if mode and self.is_built:
            frozen_to_eval(self.layer_groups(), self._trainable, self.adapt_batch_norm)
        return self

    # ---------------------------------------------------------------- learning rates

    def base_rates(self) -> dict[str, float]:
        """Every reachable group's rate from the towers' rates and `layer_decay`, before any callback's scale."""
        last = {tower.name: self._last_rate(tower) for tower in self.towers()}
        below = depths(self.reachable_groups)
        rates = {}
        for name in self.reachable_groups:
            tower = name.rpartition("/")[0]
            rates[name] = self.lr if is_outside(name) else last[tower] * self.layer_decay ** below[name]
        return rates

    def _last_rate(self, tower: Tower) -> float:
        return self.lr * tower.adaptation.rate if tower.lr is None else tower.lr

    def group_rates(self) -> dict[str, float]:
        """Every reachable group's own rate, before schedule and ramps."""
        reachable = [group for group in self.layer_groups() if group.name in self._reachable]
        scales = self.rate_scales(reachable) if self.rate_scales is not None else {}
        return {name: rate * scales.get(name, 1.0) for name, rate in self.base_rates().items()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = parameter_groups(self, self.layer_groups(), self.group_rates(), self._adapted, self.weight_decay)
        return self.scheduled(self.make_optimizer(groups))
