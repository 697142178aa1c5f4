"""Optimizer parameter groups: one or two for each layer group, with its rate and its weight decay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from lightning_tl.contracts.layer_groups import LayerGroup


def check_rates(lr: float, backbone_lr: float | None, layer_decay: float, weight_decay: float) -> None:
    """Raise ValueError for a rate that could not train."""
    if not lr > 0:
        raise ValueError(f"lr must be above 0, got {lr}")
    if backbone_lr is not None and not backbone_lr > 0:
        raise ValueError(f"backbone_lr must be above 0, got {backbone_lr}; use LinearProbe to keep it frozen")
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must be in (0, 1], got {layer_decay}")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to biases, norms, class tokens and position embeddings."""
    return parameter.ndim >= 2 and not any(part in name for part in ("token", "position_embeddings", "pos_embed"))


def parameter_groups(
    module: nn.Module,
    layer_groups: Sequence[LayerGroup],
    rates: Mapping[str, float],
    trained: Collection[str],
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Groups for an optimizer, from input to output, each with `name` and its layer group as `group`.

    Every group that can ever train is declared: groups added later break schedulers and exact resume.

    Args:
        module: that holds the parameters.
        layer_groups: of the whole module, from input to output.
        rates: learning rate of each layer group that may train; the others are left out.
        trained: names of the parameters that may train.
        weight_decay: of the parameters that decay; the rest are in a group `<layer group>/no_decay`.
    """
    parameters = dict(module.named_parameters())
    groups: list[dict[str, Any]] = []
    for group in layer_groups:
        if group.name not in rates:
            continue
        # A tensor shared by two groups belongs to the one that holds its first name: `parameters` lists it once.
        members = [(n, parameters[n]) for n in sorted(group.parameter_names & set(trained)) if n in parameters]
        for name, decay, wanted in ((group.name, weight_decay, True), (f"{group.name}/no_decay", 0.0, False)):
            if chosen := [p for n, p in members if decays(n, p) == wanted]:
                options = {"lr": rates[group.name], "weight_decay": decay, "name": name, "group": group.name}
                groups.append({"params": chosen, **options})
    return groups
