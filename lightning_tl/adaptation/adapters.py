"""Adapters: small bottlenecks behind the sublayers of a frozen transformer."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.adaptation.adapted_folder import write_adapted
from lightning_tl.adaptation.base import Adaptation
from lightning_tl.adaptation.linear_layers import is_linear, width_out
from lightning_tl.adaptation.trial_run import check_reached
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
        layers: ends of the names of the layers behind which they sit, where the model calls them otherwise than the
            models of transformers and timm do.
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
            ValueError: for a block that has not, with the names that could be given.
        """
        kinds = {"attention": _ATTENTION, "feed-forward part": _FEED_FORWARD}
        if self.layers is not None:
            kinds = {end: re.compile(rf"(^|\.){re.escape(end)}$") for end in self.layers}
        linear = {name: layer for name, layer in backbone.named_modules() if is_linear(layer)}
        found: dict[str, nn.Module] = {}
        for group in backbone.layer_groups()[1:]:
            inside = [name for name in linear if f"{name}.weight" in group.parameter_names]
            for kind, pattern in kinds.items():
                matching = [name for name in inside if pattern.search(f".{name}")]
                if not matching:
                    raise ValueError(
                        f"Adapters: the last layer of the {kind} was not found in {group.name} of "
                        f"{_kind(backbone)}, whose linear layers are {', '.join(inside) or 'none'}; name the layers "
                        "behind which adapters are to sit by the ends of their names: layers=[…]"
                    )
                found |= {name: linear[name] for name in matching}
        return found

    def export(
        self, folder: Path, backbone: Backbone, head: nn.Module, class_names: Sequence[str], trained: Collection[str]
    ) -> str:
        """Write adapters and head alone. See `Adaptation`."""
        return write_adapted(folder, self, backbone, head, class_names, trained)


def _adapt(layer: Any, inputs: Any, output: Tensor) -> Tensor:
    return output + layer.adapter(output)  # type: ignore[no-any-return]


def _kind(backbone: nn.Module) -> str:
    return type(getattr(backbone, "model", backbone)).__name__
