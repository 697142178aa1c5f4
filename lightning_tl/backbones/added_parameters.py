"""Which parameters of a backbone an adaptation added, and a hash of all others."""

from __future__ import annotations

import re

from torch import nn

from lightning_tl.tensor_digest import tensor_digest

# Names of what adaptations register: PEFT's changes, adapters, prompts.
ADDED = re.compile(r"(^|\.)(lora_\w+|adapter|prompts)\.")


def base_hash(backbone: nn.Module, without: frozenset[str] = frozenset()) -> str:
    """SHA-256 of all weights of a backbone but for those that an adaptation added.

    Args:
        without: names of further weights to leave out.
    """
    kept = {name: v for name, v in backbone.state_dict().items() if not ADDED.search(name) and name not in without}
    return tensor_digest({name.replace(".base_layer.", "."): value for name, value in kept.items()})
