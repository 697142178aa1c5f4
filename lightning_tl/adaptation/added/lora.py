"""LoRA: train low-rank changes of some layers, by PEFT."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_tl.adaptation.added.linear_layers import is_linear, own_parameters
from lightning_tl.adaptation.added.trial_run import check_reached
from lightning_tl.adaptation.base import Adaptation, check_trains
from lightning_tl.backbones.added_parameters import ADDED, base_of, buffers_moved, check_nothing_added
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.peft_folder import write_peft_folder

ALL_LINEAR = "all-linear"
ADAPTER = "default"  # PEFT's name of the one adapter
_OTHERS = (nn.Conv2d, nn.Embedding)  # layers that can be changed beside linear ones
# What the families call the layers of attention that make queries and values; some make them in one.
_QUERIES_AND_VALUES = re.compile(
    r"\.(query|value|query_proj|value_proj|q_proj|v_proj|q_lin|v_lin|q|v|qkv|Wqkv|in_proj|to_q|to_v"
    r"|c_attn|query_key_value|qkv_proj|query_key|Wq|Wv|q_head|v_head|q_b_proj|kv_b_proj|in_proj_qkvz)$"
)


class LoRA(Adaptation):
    """Freeze the backbone and learn a change of rank r beside each target layer (Hu et al., 2021, equation 3).

    A layer W becomes W + (alpha / r) B A with A [r, in] and B [out, r]; B starts at zero, so at first nothing changes.

    Args:
        r: rank of the changes.
        alpha: their scale; the factor is alpha / r.
        targets: layers to change: a name or several (`query`: every layer whose name ends so), a regular expression
            that matches whole names (one with characters such as `.*`), or `all-linear`. Default the layers of
            attention that make queries and values, as in the paper; where none are known by name, all linear layers
            of the blocks. Layers that share one weight (Zamba's) are left out, and refused where they are named.
        dropout: of the layer's input on its way into A, in [0, 1).
        rslora: scale by alpha / sqrt(r) instead (Kalajdzievski, 2023).
        dora: learn the length of each row apart from its direction (Liu et al., 2024).
    """

    rate = 1.0

    def __init__(
        self,
        r: int = 8,
        alpha: float = 16,
        targets: str | Sequence[str] | None = None,
        dropout: float = 0.0,
        rslora: bool = False,
        dora: bool = False,
    ) -> None:
        if r < 1:
            raise ValueError(f"LoRA's rank r must be at least 1, got {r}")
        if not alpha > 0:
            raise ValueError(f"LoRA's alpha must be above 0, got {alpha}")
        if isinstance(targets, str):
            try:
                re.compile(targets)
            except re.error as error:
                raise ValueError(f"LoRA's targets '{targets}' are no regular expression: {error}") from None
        if not 0 <= dropout < 1:
            raise ValueError(f"LoRA's dropout must be in [0, 1), got {dropout}")
        self.r, self.alpha, self.dropout, self.rslora, self.dora = r, alpha, dropout, rslora, dora
        self.targets = targets if targets is None or isinstance(targets, str) else tuple(targets)
        named = targets if targets is None or isinstance(targets, str) else list(targets)
        self.arguments = {"r": r, "alpha": alpha, "targets": named, "dropout": dropout, "rslora": rslora, "dora": dora}

    def apply(self, backbone: Backbone) -> None:
        """Put the changes beside the target layers.

        Raises:
            ValueError: nothing matches `targets`; the message lists what could be named. Or the model computes a
                target without calling it.
            ModuleNotFoundError: PEFT is not installed.
        """
        peft = import_peft()
        check_nothing_added(backbone)
        check_trains(backbone, "LoRA")
        names = self.target_layers(backbone)
        backbone.base = base_of(backbone)
        check_reached(backbone, {name: backbone.get_submodule(name) for name in names}, "LoRA")
        backbone.requires_grad_(False)
        peft.inject_adapter_in_model(self.config(names), backbone, ADAPTER)

    def config(self, names: Sequence[str], **more: Any) -> Any:
        """PEFT's configuration for these layers."""
        return import_peft().LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            use_dora=self.dora,
            target_modules=list(names),
            **more,
        )

    def export(
        self, folder: Path, backbone: Backbone, head: nn.Module, class_names: Sequence[str], trained: Collection[str]
    ) -> str:
        """Write an ordinary model, the changes added to its layers, and beside it the folder `adapter` for PEFT.

        The adapter is left out where other weights of the backbone were trained too, or statistics of BatchNorm moved:
        it would not fit the original's. See `Adaptation`.
        """
        assert backbone.base is not None, "an adaptation is applied before it is exported"
        if all(ADDED.search(name) for name in trained) and not buffers_moved(backbone, backbone.base):
            write_peft_folder(folder.parent / "adapter", self.config, backbone, head, class_names)
        merged = copy.deepcopy(backbone)
        merge_lora(merged)
        return merged.export(folder, head, class_names)

    def target_layers(self, backbone: nn.Module) -> list[str]:
        """Full names of the layers that `targets` means.

        Raises:
            ValueError: there are none.
        """
        layers = {
            name: layer
            for name, layer in backbone.named_modules()
            if is_linear(layer) or (isinstance(layer, _OTHERS) and "weight" in own_parameters(layer))
        }
        targets = self.targets
        tied = _tied(layers)
        if targets is None:
            free = [name for name in layers if name not in tied]
            found = [name for name in free if _QUERIES_AND_VALUES.search(f".{name}")] or _of_blocks(backbone, free)
        elif targets == ALL_LINEAR:
            found = [name for name, layer in layers.items() if is_linear(layer)]
        elif isinstance(targets, str) and not re.fullmatch(r"[\w.]+", targets):
            found = [name for name in layers if re.fullmatch(targets, name)]
        else:
            wanted = (targets,) if isinstance(targets, str) else targets
            found = [name for name in layers if f".{name}".endswith(tuple(f".{end}" for end in wanted))]
            lost = [end for end in wanted if not any(f".{name}".endswith(f".{end}") for name in found)]
            if lost and found:
                raise ValueError(f"LoRA's targets {', '.join(lost)} match no layer; {_could_be_named(layers)}")
        if not found:
            asked = (
                "no layers for queries and values were found" if targets is None else f"targets {targets} match none"
            )
            raise ValueError(f"LoRA: {asked}; {_could_be_named(layers)}")
        if shared := [name for name in found if name in tied]:
            raise ValueError(
                f"LoRA cannot change {shared[0]} by itself: it shares its weights with {tied[shared[0]]}, and both "
                "changes would be added to them at export; name other layers as targets, or use Adapters"
            )
        return found


def merge_lora(backbone: nn.Module) -> None:
    """Add the learned changes to the layers, in place, and leave ordinary layers behind."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(backbone.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)
            parent, _, own = name.rpartition(".")
            setattr(backbone.get_submodule(parent), own, layer.get_base_layer())
    if hasattr(backbone, "peft_config"):
        del backbone.peft_config


def _tied(layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """Linear layers that hold the same weights as another (Zamba's shared attention), and which one."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for name, layer in layers.items():
        if is_linear(layer) and (weight := own_parameters(layer).get("weight")) is not None:
            other = first.setdefault(id(weight), name)
            if other != name:
                found |= {name: other, other: name}
    return found


def _of_blocks(backbone: nn.Module, names: Sequence[str]) -> list[str]:
    """Of these layers the linear ones in the blocks of a backbone."""
    groups = backbone.layer_groups()[1:] if isinstance(backbone, Backbone) else []
    inside = {name for group in groups for name in group.parameter_names}
    return [name for name in names if f"{name}.weight" in inside and is_linear(backbone.get_submodule(name))]


def _could_be_named(layers: Mapping[str, nn.Module]) -> str:
    if not layers:
        return "the model has no layers that LoRA can change; use Full or TopGroups"
    ends = Counter(re.sub(r"^.*\.(?=\w*[a-zA-Z_])", "", name) for name in layers)  # without the numbers of blocks
    listed = ", ".join(f"{end} ({count})" for end, count in ends.most_common())
    every = f", or {ALL_LINEAR}" if any(map(is_linear, layers.values())) else ""
    return f"these could be named: {listed}{every}"


def import_peft() -> Any:
    """PEFT, or an error that says how to get it."""
    try:
        import peft
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'LoRA and prompt tuning need peft; install it with: python -m pip install "lightning-tl[text]"'
        ) from None
    return peft
