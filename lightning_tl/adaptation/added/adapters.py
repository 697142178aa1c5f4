"""Adapters: small bottlenecks behind the sublayers of a frozen transformer."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.adaptation.added.adapted_folder import write_adapted
from lightning_tl.adaptation.added.linear_layers import is_linear, width_out
from lightning_tl.adaptation.added.trial_run import check_reached
from lightning_tl.adaptation.base import Adaptation, check_trains
from lightning_tl.backbones.added_parameters import base_of, check_nothing_added
from lightning_tl.backbones.base import Backbone

# What the families call the last layer of a block's attention, and that of its feed-forward part.
_ATTENTION = re.compile(
    r"\.(attention\.output\.dense|out_lin|attn\.o|attn\.Wo|o_proj|out_proj|attn\.proj|attn\.c_proj|SelfAttention\.o"
    r"|attention\.dense|attention\.dense_output|attn_out|attention\.Wo|post_proj|attn\.out_proj|self_attention\.dense"
    r"|attn\.dense|self_attn\.dense|multi_head_attention\.dense|attention\.attention\.out_proj)$"
)
_FEED_FORWARD = re.compile(
    r"(?<!attention)\.(output\.dense|lin2|mlp\.Wo|fc2|down_proj|mlp\.c_proj|dense_4h_to_h|DenseReluDense\.wo"
    r"|ffn\.2|ff\.layer_2|linear_2|mlp\.fc_out|ffn_output|mlp\.dense_4h_to_h)$"
)


class Bottleneck(nn.Module):
    """What an adapter adds to its input: up(GELU(down(x))); `up` starts at zero, so at first it adds nothing.

    Args:
        dim: width of the input.
        size: width of the bottleneck.
    """

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, size), nn.Linear(size, dim)
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """[…, dim] to [batch, …, dim]."""
        added: Tensor = self.up(F.gelu(self.down(hidden)))
        return added


class Adapters(Adaptation):
    """Freeze the backbone and learn a bottleneck behind every sublayer of its blocks (Houlsby et al., 2019).

    As in section 2.1 of the paper they sit behind the sublayer's last layer, before the residual connection; unlike
    there, dropout comes after the adapter, and the layer norms stay frozen.

    Args:
        size: width of the bottlenecks. With 64, the paper's usual one, they are 2 to 4% of a BERT's parameters.
        layers: ends of the names of the layers behind which they sit. Default the last ones of attention and
            feed-forward part, by the names that transformers and timm give them; in a block without such names, the
            last linear layer of each part that is as wide as the block's output. Blocks of convolutions alone have
            none.
    """

    rate = 1.0

    def __init__(self, size: int = 64, layers: Sequence[str] | None = None) -> None:
        if size < 1:
            raise ValueError(f"the adapters' size must be at least 1, got {size}")
        if isinstance(layers, str) or (layers is not None and not layers):
            raise ValueError(f"layers must be a list of ends of names, got {layers!r}")
        self.size, self.layers = size, None if layers is None else tuple(layers)
        self.arguments = {"size": size, "layers": None if layers is None else list(layers)}

    def apply(self, backbone: Backbone) -> None:
        """Put an adapter behind each target layer.

        Raises:
            ValueError: a block in which the layers are not found, or that computes them without calling them.
        """
        check_nothing_added(backbone)
        check_trains(backbone, "Adapters")
        layers = self.target_layers(backbone)
        backbone.base = base_of(backbone)
        check_reached(backbone, layers, "adapters")
        backbone.requires_grad_(False)
        for layer in layers.values():
            weight: Any = layer.weight
            layer.add_module("adapter", Bottleneck(width_out(layer), self.size).to(weight))
            layer.register_forward_hook(_adapt)

    def target_layers(self, backbone: Backbone) -> dict[str, nn.Module]:
        """The layers behind which adapters sit, by name: in every block at least one of each kind.

        Raises:
            ValueError: for a block that has not, with the names that could be given; for a model of which no block has
                a linear layer.
        """
        kinds = {"attention": _ATTENTION, "feed-forward part": _FEED_FORWARD}
        if self.layers is not None:
            kinds = {end: re.compile(rf"(^|\.){re.escape(end)}$") for end in self.layers}
        linear = {name: layer for name, layer in backbone.named_modules() if is_linear(layer)}
        groups = backbone.layer_groups()[1:]
        if not any(f"{name}.weight" in group.parameter_names for group in groups for name in linear):
            raise ValueError(
                f"Adapters sit behind linear layers, of which the blocks of {_kind(backbone)} have none; use Full or "
                "TopGroups"
            )
        found: dict[str, nn.Module] = {}
        for group in groups:
            inside = [name for name in linear if f"{name}.weight" in group.parameter_names]
            if self.layers is None and linear and not inside:
                continue  # convolutions alone
            by_kind = {kind: [name for name in inside if end.search(f".{name}")] for kind, end in kinds.items()}
            if self.layers is None and inside and not all(by_kind.values()):
                ends = _ends_of_parts(inside, linear)
                by_kind = {"parts": ends} if ends else by_kind
            for kind, matching in by_kind.items():
                if not matching:
                    raise ValueError(
                        f"Adapters: the last layer of the {kind} was not found in {group.name} of "
                        f"{_kind(backbone)}, whose linear layers are {', '.join(inside) or 'none'}; name the layers "
                        "behind which adapters are to sit by the ends of their names: layers=[…]"
                    )
                found |= {name: linear[name] for name in _called_first(matching, backbone)}
        return found

    def export(
        self, folder: Path, backbone: Backbone, head: nn.Module, class_names: Sequence[str], trained: Collection[str]
    ) -> str:
        """Write adapters and head alone. See `Adaptation`."""
        return write_adapted(folder, self, backbone, head, class_names, trained)


def _ends_of_parts(inside: Sequence[str], linear: Mapping[str, nn.Module]) -> list[str]:
    """Of each part of a block, the last layer that gives the block's width.

    Args:
        inside: names of the block's layers, in order.
        linear: layers by name.
    """
    split = [name.split(".") for name in inside]
    depth = next((k for k, parts in enumerate(zip(*split, strict=False)) if len(set(parts)) > 1), 0)
    width = width_out(linear[inside[-1]])
    ends = {parts[depth]: name for parts, name in zip(split, inside, strict=True) if width_out(linear[name]) == width}
    return list(ends.values())


def _called_first(names: Sequence[str], backbone: Backbone) -> Sequence[str]:
    """Without the last layers of torch's own attention, which computes them without calling them, where others are."""
    inner = {name for name in names if isinstance(_parent(name, backbone), nn.MultiheadAttention)}
    return [name for name in names if name not in inner] or names


def _parent(name: str, backbone: Backbone) -> nn.Module:
    return backbone.get_submodule(name.rpartition(".")[0])


def _adapt(layer: Any, inputs: Any, output: Tensor) -> Tensor:
    return output + layer.adapter(output)  # type: ignore[no-any-return]


def _kind(backbone: nn.Module) -> str:
    return type(getattr(backbone, "model", backbone)).__name__
