"""`TrainingGroups`: which layer groups of a module train, and from which rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

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
from lightning_tl.training.frozen_weights import FrozenWeights


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

    def last_rate(self, lr: float) -> float:
        """Rate of its last layer group.

        Args:
            lr: the head's.
        """
        return lr * self.adaptation.rate if self.lr is None else self.lr


class TrainingGroups:
    """What the adaptations let train of a module, and what of that trains now.

    Made when all parameters are there and `requires_grad` says what the adaptations want.

    Args:
        module: whose parameters they are.
        groups: all of its layer groups, ordered from input to output.
        towers: its backbones.

    Attributes:
        adapted: names of the parameters that the adaptations let train at all.
        reachable: names of the groups with such parameters.
        trainable: those of them that train now.
        frozen: the backbones' other parameters.

    Raises:
        ValueError: a parameter lies in no group, or in several.
    """

    def __init__(self, module: nn.Module, groups: Sequence[LayerGroup], towers: Sequence[Tower]) -> None:
        check_partition(module, groups)
        self.adapted = frozenset(name for name, parameter in module.named_parameters() if parameter.requires_grad)
        self.reachable = frozenset(group.name for group in groups if group.parameter_names & self.adapted)
        self.trainable = self.reachable
        self.frozen = FrozenWeights(module, {tower.path: tower.backbone for tower in towers}, self.adapted)
        self._adapts_batch_norm: bool | None = None  # as a callback wants it for now

    def let_train(
        self, module: nn.Module, groups: Sequence[LayerGroup], names: Iterable[str], adapt_batch_norm: bool | None
    ) -> bool:
        """Let exactly these of the reachable groups train; whether that changed anything."""
        self.trainable, self._adapts_batch_norm = frozenset(names) & self.reachable, adapt_batch_norm
        return set_requires_grad(module, groups, self.trainable, within=self.adapted)

    def rest(self, groups: Sequence[LayerGroup], adapt_batch_norm: bool) -> None:
        """Put what does not train into evaluation mode.

        Args:
            groups: of the whole module, from input to output.
            adapt_batch_norm: whether statistics of frozen BatchNorm follow the data, unless a callback says otherwise.
        """
        adapts = adapt_batch_norm if self._adapts_batch_norm is None else self._adapts_batch_norm
        frozen_to_eval(groups, self.trainable, adapts)

    def base_rates(
        self, groups: Sequence[LayerGroup], towers: Sequence[Tower], lr: float, layer_decay: float
    ) -> dict[str, float]:
        """Every reachable group's rate, before any callback's scale.

        Args:
            groups: of the whole module, from input to output.
            towers: the adapted backbones, with the rates that they ask for.
            lr: of everything outside the towers.
            layer_decay: rate of a tower's group over that of the group after it.
        """
        names = [group.name for group in groups if group.name in self.reachable]
        last, below = {tower.name: tower.last_rate(lr) for tower in towers}, depths(names)
        return {
            name: lr if is_outside(name) else last[name.rpartition("/")[0]] * layer_decay ** below[name]
            for name in names
        }
