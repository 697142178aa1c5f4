"""`AdaptedModule`: what a LightningModule needs whose backbones are adapted, one or several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.optim import AdamW, Optimizer

from lightning_tl.adaptation import Adaptation
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.layer_groups import (
    LayerGroup,
    check_partition,
    depths,
    frozen_to_eval,
    is_outside,
    set_requires_grad,
)
from lightning_tl.training.ddp import rebuild_ddp
from lightning_tl.training.frozen_weights import FrozenWeights, put_back
from lightning_tl.training.parameter_groups import check_rates, parameter_groups
from lightning_tl.training.scheduled_module import ScheduledModule
from lightning_tl.training.schedules import Schedule

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


class AdaptedModule(ScheduledModule):
    """Which layer groups train, and at what rate; checkpoints leave out what does not, see `FrozenWeights`.

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

    adapt_batch_norm = False  # whether statistics of frozen BatchNorm layers follow the data

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
        self._frozen: FrozenWeights | None = None
        self._adapts_batch_norm: bool | None = None  # as a callback wants it for now
        self._trainable: frozenset[str] = frozenset()
        self._reachable: frozenset[str] = frozenset()  # groups that the adaptations let train

    @abstractmethod
    def towers(self) -> list[Tower]:
        """The backbones, each with its adaptation."""

    @abstractmethod
    def layer_groups(self) -> list[LayerGroup]:
        """All parameters, each in one group, ordered from input to output."""

    def backbones(self) -> dict[str, Backbone]:
        """The pretrained backbones by the paths of their attributes."""
        return {tower.path: tower.backbone for tower in self.towers()}

    def begin_training_rules(self) -> None:
        """From now on `requires_grad` says what the adaptations let train.

        Raises:
            ValueError: a parameter lies in no group, or in several.
        """
        groups = self.layer_groups()
        check_partition(self, groups)
        adapted = frozenset(name for name, parameter in self.named_parameters() if parameter.requires_grad)
        self._frozen = FrozenWeights(self, self.backbones(), adapted)
        self._reachable = frozenset(group.name for group in groups if group.parameter_names & adapted)
        self._trainable = self._reachable

    @property
    def is_built(self) -> bool:
        """Whether all parameters are there."""
        return self._frozen is not None

    # ---------------------------------------------------------------- what is trained

    @property
    def adapted_parameters(self) -> frozenset[str]:
        """Names of the parameters that the adaptations let train at all."""
        return frozenset() if self._frozen is None else self._frozen.adapted

    @property
    def frozen_digest(self) -> str | None:
        """Hash of the pretrained weights that no adaptation trains; None where there are none."""
        return None if self._frozen is None else self._frozen.digest

    @property
    def reachable_groups(self) -> list[str]:
        """Names of the groups that the adaptations let train at all, ordered from input to output."""
        return [group.name for group in self.layer_groups() if group.name in self._reachable]

    @property
    def trainable_groups(self) -> list[str]:
        """Names of the groups that train now."""
        return [group.name for group in self.layer_groups() if group.name in self._trainable]

    def set_trainable(self, names: Iterable[str], adapt_batch_norm: bool | None = None) -> None:
        """Let exactly these of the reachable groups train, now.

        Call it only between two optimizer steps.

        Args:
            names: of layer groups.
            adapt_batch_norm: in place of the attribute of this name.
        """
        changed = self._let_train(names, adapt_batch_norm)
        self.train(self.training)
        if changed and self._trainer is not None:
            rebuild_ddp(self._trainer)

    def give_back(self, names: Iterable[str]) -> None:
        """After a fit: let these groups train as before it. Modes stay until the next `train` or `eval`."""
        self._let_train(names, None)

    def _let_train(self, names: Iterable[str], adapt_batch_norm: bool | None) -> bool:
        self._trainable, self._adapts_batch_norm = frozenset(names) & self._reachable, adapt_batch_norm
        return set_requires_grad(self, self.layer_groups(), self._trainable, within=self.adapted_parameters)

    def train(self, mode: bool = True) -> AdaptedModule:
        super().train(mode)
        if mode and self.is_built:
            adapts = self.adapt_batch_norm if self._adapts_batch_norm is None else self._adapts_batch_norm
            frozen_to_eval(self.layer_groups(), self._trainable, adapts)
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
        rates = base = self.base_rates()
        for rules in self._rules:
            scales = rules.rate_scales(reachable, base)
            rates = {name: rate * scales.get(name, 1.0) for name, rate in rates.items()}
        self._asked_for_rates = True
        return rates

    def rates_for(self, lr: float) -> dict[str, float]:
        before, self.lr = self.lr, lr
        try:
            return super().rates_for(lr) | self.group_rates()
        finally:
            self.lr = before

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer of your own: `return self.scheduled(SGD(self.optimizer_groups()))`."""
        return parameter_groups(
            self, self.layer_groups(), self.group_rates(), self.adapted_parameters, self.weight_decay
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.scheduled(self.make_optimizer(self.optimizer_groups()))

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        self._asked_for_rates = False
        return super().configure_callbacks()

    def on_fit_start(self) -> None:
        self._check_rules_are_heard()
        super().on_fit_start()

    def _check_rules_are_heard(self) -> None:
        """Raises:
        ValueError: callbacks set rates, and an own `configure_optimizers` does not ask for them.
        """
        base = dict.fromkeys(self.reachable_groups, 1.0)
        groups = [group for group in self.layer_groups() if group.name in base]
        unheard = [] if self._asked_for_rates else [r for r in self._rules if r.rate_scales(groups, base)]
        late = [] if self.rates is not None else [r for r in self._rules if r.needs_steps()]
        for rules in (*unheard, *late):
            raise ValueError(
                f"{type(rules).__name__} sets learning rates, and configure_optimizers of {type(self).__name__} does "
                "not ask for them: return self.scheduled(optimizer) there, with an optimizer over "
                "self.optimizer_groups(), such as self.scheduled(torch.optim.SGD(self.optimizer_groups()))"
            )

    # ---------------------------------------------------------------- checkpoints

    def on_train_start(self) -> None:
        super().on_train_start()
        if self._frozen is not None:
            self._frozen.note_training(self.backbones())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self._frozen is not None:
            self._frozen.leave_out(checkpoint, self, self.backbones())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises:
        ValueError: the checkpoint was made beside other frozen weights than the backbones have now.
        """
        super().on_load_checkpoint(checkpoint)
        put_back(checkpoint, self, self.backbones(), self._frozen)
