"""Two adaptations in one schedule: first added parameters alone, then the backbone's own as well."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from torch import nn

from lightning_tl.adaptation.base import Adaptation
from lightning_tl.backbones.added_parameters import ADDED, base_of
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.layer_groups import ADAPTATION, LayerGroup


class AdaptThenThaw(Adaptation):
    """Train what `first` adds from the first step on, and let the last `n` layer groups themselves be thawed later.

    What `first` adds is a layer group of its own, `adaptation`, with the head's rate. `ProgressiveUnfreezing` says when
    the backbone's groups follow: with `milestones: [2, 3]` after two epochs the last and after three the one before it.
    Without it they train from the first step on.

    Args:
        first: an adaptation that adds parameters, such as `LoRA` or `Adapters`.
        n: how many of the backbone's layer groups may be thawed, counted from the output.
    """

    def __init__(self, first: Adaptation, n: int = 2) -> None:
        if not hasattr(first, "arguments"):
            raise ValueError(
                f"AdaptThenThaw needs an adaptation that adds parameters, such as LoRA or Adapters, got "
                f"{type(first).__name__}"
            )
        if n < 1:
            raise ValueError(f"AdaptThenThaw needs n of at least 1 layer group, got {n}; use {type(first).__name__}")
        self.first, self.n = first, n
        self.arguments = {"first": {"class": type(first).__name__, "arguments": first.arguments}, "n": n}

    def apply(self, backbone: Backbone) -> None:
        """See `Adaptation`.

        Raises:
            ValueError: the backbone has fewer than `n` layer groups.
        """
        groups = backbone.layer_groups()
        if self.n > len(groups):
            names = ", ".join(group.name for group in groups)
            raise ValueError(f"AdaptThenThaw got n={self.n}, but the backbone has {len(groups)} layer groups: {names}")
        self.first.apply(backbone)
        parameters = dict(backbone.named_parameters())
        for group in backbone.layer_groups()[-self.n :]:
            for name in group.parameter_names & parameters.keys():  # a tied tensor goes by its first name
                parameters[name].requires_grad_(True)
        backbone.base = base_of(backbone, frozenset(n for n, value in parameters.items() if value.requires_grad))

    def layer_groups(self, backbone: Backbone) -> list[LayerGroup]:
        """The backbone's own groups, then `adaptation`."""
        groups = [
            LayerGroup(group.name, frozenset(n for n in group.parameter_names if not ADDED.search(n)), group.modules)
            for group in backbone.layer_groups()
        ]
        added = frozenset(name for name, _ in backbone.named_parameters() if ADDED.search(name))
        # Modules with their dropout, too, which would be off while the block around them is frozen.
        modules = tuple(module for name, module in backbone.named_modules() if ADDED.search(f"{name}."))
        return [*groups, *([LayerGroup(ADAPTATION, added, modules)] if added else [])]

    def export(
        self, folder: Path, backbone: Backbone, head: nn.Module, class_names: Sequence[str], trained: Collection[str]
    ) -> str:
        """As `first` does: changes of low rank are added to the layers. See `Adaptation`."""
        return self.first.export(folder, backbone, head, class_names, trained)
