"""What an adaptation adds to a backbone, and what the backbone was before."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_tl.storage.tensor_digest import tensor_digest

# Names of what adaptations register: PEFT's changes, adapters, prompts.
ADDED = re.compile(r"(^|\.)(lora_\w+|adapter|prompts)\.")


@dataclass(frozen=True)
class Base:
    """A backbone as an adaptation found it.

    Args:
        sha256: of the weights that it leaves as they are.
        buffers: hash of the buffers, such as statistics of BatchNorm, which training may move.
    """

    sha256: str
    buffers: str


def base_of(backbone: nn.Module, trained: frozenset[str] = frozenset()) -> Base:
    """Describe a backbone, whatever was added to it.

    Args:
        backbone: with its pretrained weights, before they train.
        trained: names of its own weights that are to be trained.
    """
    kept = {name: v for name, v in backbone.state_dict().items() if not ADDED.search(name) and name not in trained}
    plain = {name.replace(".base_layer.", "."): value for name, value in kept.items()}
    return Base(tensor_digest(plain), tensor_digest(persistent_buffers(backbone)))


def persistent_buffers(backbone: nn.Module) -> dict[str, Tensor]:
    """The buffers that a state dict holds, under plain names."""
    state, parameters = backbone.state_dict(), {name for name, _ in backbone.named_parameters(remove_duplicate=False)}
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if name not in parameters}


def buffers_moved(backbone: nn.Module, base: Base) -> bool:
    """Whether training changed a buffer, such as a statistic of BatchNorm."""
    return tensor_digest(persistent_buffers(backbone)) != base.buffers


def check_base(backbone: nn.Module, found: Base, wanted: str, folder: object) -> None:
    """Refuse a backbone that is not the one beside which the contents of a folder were trained.

    Raises:
        ValueError: with both hashes.
    """
    if found.sha256 != wanted:
        name = getattr(backbone, "arguments", {}).get("pretrained", type(backbone).__name__)
        raise ValueError(
            f"what {folder} holds was trained beside other weights than {name} has now (hash {wanted[:12]}, found "
            f"{found.sha256[:12]}): take the weights that it was trained on"
        )


def check_nothing_added(backbone: nn.Module) -> None:
    """Refuse a backbone that an adaptation has changed already: two on one model would be read back as one.

    Raises:
        ValueError: naming what was added.
    """
    found = next((name for name, _ in backbone.named_parameters() if ADDED.search(name)), None)
    if found is not None:
        raise ValueError(
            f"the backbone was adapted before, by another module (it has {found}); open a fresh backbone for this one"
        )
