"""`EveryLayer`: a backbone whose features are those after each of its layer groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.compat.for_torch import leaves
from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.layer_groups import LayerGroup, is_outside

LAST = "features"
"""Name of what the backbone itself gives, after the last layer."""


class EveryLayer(Backbone):
    """The means of what each layer group of a backbone puts out, in one row beside its own features.

    The mean is over tokens (of a text those that are no padding) or over an image's places. Of a group's modules the
    one that runs last counts. The layers of a network are compared by it (Yosinski et al. 2014; Kornblith et al. 2019).

    Args:
        backbone: shared, and put into evaluation mode; its weights stay as they are.

    Attributes:
        columns: which columns of the features belong to which layer, from input to output; `features` is the last.

    Raises:
        ValueError: a layer's output is no tensor that can be averaged.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone.eval()
        self.arguments = {**getattr(backbone, "arguments", {}), "layers": "every"}
        device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
        example = backbone.example_inputs(2)
        on_device = (
            {k: v.to(device) for k, v in example.items()} if isinstance(example, Mapping) else example.to(device)
        )
        self.columns: dict[str, slice] = {}
        with torch.no_grad():
            for name, values in self._layers(on_device).items():
                start = max((part.stop for part in self.columns.values()), default=0)
                self.columns[name] = slice(start, start + values.shape[1])
        self.feature_dim = self.columns[LAST].stop

    @property
    def input_spec(self) -> ImageSpec | TextSpec:
        """See `Backbone`."""
        return self.backbone.input_spec

    def example_inputs(self, count: int) -> Any:
        """See `Backbone`."""
        return self.backbone.example_inputs(count)

    def forward(self, inputs: Any) -> Tensor:
        """Inputs to the features of all layers, [batch, feature_dim]."""
        return torch.cat([values.float() for values in self._layers(inputs).values()], dim=1)

    def layer_groups(self) -> list[LayerGroup]:
        """See `Backbone`."""
        return [group.prefixed("backbone") for group in self.backbone.layer_groups()]

    def reinitialise(self) -> None:
        """See `Backbone`."""
        self.backbone.reinitialise()

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Not for this: no head reads the features of all layers.

        Raises:
            ValueError: always.
        """
        raise ValueError("the features of every layer are for comparing layers; export the backbone itself")

    def _layers(self, inputs: Any) -> dict[str, Tensor]:
        """Means of each layer [batch, width], in order."""
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        modules = _modules_of_groups(self.backbone)
        with _outputs_of(modules) as outputs:
            features = self.backbone(inputs)
        kind = type(self.backbone).__name__
        found = {
            name: _mean(outputs[name], len(features), mask, f"{name} of {kind}") for name in modules if name in outputs
        }
        return {**found, LAST: features}


def _modules_of_groups(backbone: Backbone) -> dict[str, list[nn.Module]]:
    """The largest modules that hold weights of one group alone, beside what an adaptation added, by the group's name.

    Not the modules that a group names: a block is not among them where a layer without weights counts to another group.
    """
    group_of: dict[str, str | None] = {}
    for group in backbone.layer_groups():
        group_of |= dict.fromkeys(group.parameter_names, None if is_outside(group.name) else group.name)
    found: dict[str, list[nn.Module]] = {name: [] for name in group_of.values() if name is not None}
    names = [group.name for group in backbone.layer_groups() if group.name in found]

    def visit(module: nn.Module, prefix: str) -> None:
        inside = {group_of.get(f"{prefix}{name}") for name, _ in module.named_parameters()} - {None}
        if len(inside) == 1:
            found[str(inside.pop())].append(module)
            return
        for name, child in module.named_children():
            visit(child, f"{prefix}{name}.")

    visit(backbone, "")
    return {name: found[name] for name in names}


@contextmanager
def _outputs_of(modules: Mapping[str, Sequence[nn.Module]]) -> Iterator[dict[str, Tensor]]:
    """What these modules put out while this is open, by the group's name: of each the last output."""
    found: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        tensors = [leaf for leaf in leaves(output) if isinstance(leaf, Tensor)]
        if tensors:
            found[name] = tensors[0]

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
        for name, held in modules.items()
        for module in held
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _mean(output: Tensor, samples: int, mask: Tensor | None, what: str) -> Tensor:
    """[batch, width] of [batch, tokens, width], [batch, width, height, width] or [batch, height, width, width]."""
    if output.shape[0] != samples or output.ndim not in (2, 3, 4):
        raise ValueError(
            f"{what} gives {list(output.shape)} for {samples} samples, which is not one output for each, so that its "
            "layers cannot be compared; leave --layers out"
        )
    if output.ndim == 2:
        return output
    if output.ndim == 3:
        if mask is None or mask.shape != output.shape[:2]:
            return output.mean(1)
        weights = mask.to(output.dtype)[:, :, None]
        return (output * weights).sum(1) / weights.sum(1).clamp(min=1)
    channels_last = output.shape[1] == output.shape[2] != output.shape[3]  # as Swin has them; images are square
    return output.mean((1, 2) if channels_last else (2, 3))
