"""Ordered layer groups: the one list that freezing, unfreezing and layer-wise learning rates all read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from lightning_tl.compat.for_torch import is_batch_norm

# Groups that are no part of the pretrained backbone: they train from the first step on, whatever is unfrozen when.
ADAPTATION, HEAD = "adaptation", "head"
OUTSIDE = (ADAPTATION, HEAD)
TOWER = "/"  # stands between a tower and its group, where a model has several backbones: "item/block.0"


@dataclass(frozen=True)
class LayerGroup:
    """Some layers of a model that are frozen, thawed and given a learning rate together.

    Groups are ordered from input to output. Parameters are listed by name because some (a class token, position
    embeddings, a learned temperature) belong to no submodule of their own.

    Args:
        name: `"embeddings"`, `"block.0"`, …, `"head"`; where a model has several backbones, `"item/block.0"`.
        parameter_names: names as in `named_parameters()` of the model that returned the group.
        modules: the submodules to put in evaluation mode while the group is frozen.
    """

    name: str
    parameter_names: frozenset[str]
    modules: tuple[nn.Module, ...]

    def prefixed(self, prefix: str, tower: str = "") -> LayerGroup:
        """The same group as seen from a parent that holds the model as attribute `prefix`.

        Args:
            prefix: name of the attribute, without a dot.
            tower: put before the group's name where the parent has several such models.
        """
        names = frozenset(f"{prefix}.{name}" for name in self.parameter_names)
        return LayerGroup(f"{tower}{TOWER}{self.name}" if tower else self.name, names, self.modules)


def is_outside(name: str) -> bool:
    """Whether the group of this name is no part of a pretrained backbone."""
    return name.rpartition(TOWER)[2] in OUTSIDE


def depths(names: Iterable[str]) -> dict[str, int]:
    """How many groups of the same backbone come after each, by name: 0 for the last one.

    Args:
        names: of groups, ordered from input to output; those outside of backbones are left out.
    """
    found: dict[str, int] = {}
    after: dict[str, int] = {}
    for name in reversed([name for name in names if not is_outside(name)]):
        tower = name.rpartition(TOWER)[0]
        found[name] = after.get(tower, 0)
        after[tower] = found[name] + 1
    return found


def by_depth(towers: list[list[LayerGroup]]) -> list[LayerGroup]:
    """One list of several towers' groups, so that unfreezing reaches all of them at the same time."""
    longest = max(map(len, towers), default=0)
    padded = [[None] * (longest - len(groups)) + groups for groups in towers]
    return [group for level in zip(*padded, strict=True) for group in level if group is not None]


def group_of_modules(name: str, root: nn.Module, modules: Iterable[nn.Module], extra: Iterable[str] = ()) -> LayerGroup:
    """Group all parameters of `modules`, submodules of `root`, and the parameters of `root` named in `extra`."""
    kept = tuple(modules)
    inside = {id(parameter) for module in kept for parameter in module.parameters()}
    names = {n for n, parameter in root.named_parameters(remove_duplicate=False) if id(parameter) in inside}
    return LayerGroup(name, frozenset(names | set(extra)), kept)


def check_partition(model: nn.Module, groups: Sequence[LayerGroup]) -> None:
    """Check that every parameter of `model` lies in exactly one group.

    Raises:
        ValueError: naming the parameters that are in no group, in several, or not in the model.
    """
    parameters = {name for name, _ in model.named_parameters()}
    listed = [name for group in groups for name in group.parameter_names]
    twice = sorted({name for name in listed if listed.count(name) > 1}) if len(listed) != len(set(listed)) else []
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    problems = {
        "in no layer group": sorted(parameters - set(listed)),
        "in several layer groups": twice,
        "not in the model": sorted(set(listed) - known),
    }
    found = [f"{what}: {', '.join(names)}" for what, names in problems.items() if names]
    if found:
        raise ValueError(
            f"layer_groups() of {type(model).__name__} must list every parameter exactly once; " + "; ".join(found)
        )


def set_requires_grad(
    model: nn.Module,
    groups: Iterable[LayerGroup],
    trainable: Collection[str],
    within: Collection[str] | None = None,
) -> bool:
    """Make exactly the groups named in `trainable` require gradients; drop the gradients of the others.

    A tensor that is shared under several names follows the group that holds its first name.

    Args:
        model: that holds the groups' parameters.
        groups: of the whole model, from input to output.
        trainable: names of groups.
        within: names of the parameters that may ever train; the others of a trainable group stay frozen.

    Returns:
        whether any parameter changed its state.
    """
    parameters = dict(model.named_parameters())
    changed = False
    for group in groups:
        for name in group.parameter_names & parameters.keys():
            parameter = parameters[name]
            wanted = group.name in trainable and (within is None or name in within)
            changed |= parameter.requires_grad != wanted
            parameter.requires_grad_(wanted)
            if not wanted:
                parameter.grad = None
    return changed


def frozen_to_eval(groups: Sequence[LayerGroup], trainable: Collection[str], adapt_batch_norm: bool = False) -> None:
    """Put the modules of frozen groups in evaluation mode, so that dropout is off and BatchNorm statistics stay.

    A BatchNorm layer of a trainable group whose own weights do not train, as beside LoRA, is frozen too.

    Args:
        groups: of the whole model, from input to output.
        trainable: names of the groups that train.
        adapt_batch_norm: leave frozen BatchNorm layers in training mode, so that their running statistics follow the
            new data although their weights stay.
    """
    for group in groups:
        frozen = group.name not in trainable
        for module in group.modules:
            if frozen:
                module.eval()
            for child in module.modules():
                if is_batch_norm(child) and (frozen or _never_trains(child)):
                    child.train(adapt_batch_norm)
    for group in groups:
        if (
            group.name.rpartition(TOWER)[2] == ADAPTATION and group.name in trainable
        ):  # its modules lie inside those of frozen groups
            for module in group.modules:
                module.train()


def _never_trains(layer: nn.Module) -> bool:
    weights = list(layer.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)
