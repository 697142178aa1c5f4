"""Which block of a timm model each tensor lies in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lightning_tl.backbones.ordered_groups import blocks_by_structure, numbers_by_block, tensor_names
from lightning_tl.compat.for_timm import numbers_by_matcher


def timm_numbers(model: nn.Module) -> Mapping[str, int]:
    """A number for each tensor: 0 in the stem, then rising by block.

    By timm's own matcher, or where a model has none (PoolFormer, CSATv2), by its lists of blocks or its stages.
    """
    names = tensor_names(model)
    matcher: Any = getattr(model, "group_matcher", None)
    if matcher is not None:
        return _numbers(names, matcher(coarse=False))
    blocks = blocks_by_structure(model) or _items_of_largest(model)
    return numbers_by_block(names, re.compile(f"({'|'.join(re.escape(name) for name in blocks)})\\."))


def _numbers(names: Sequence[str], matcher: Any) -> Mapping[str, int]:
    """Group numbers by timm's matcher; a tensor that it does not know goes with the one registered before it."""
    unknown = "?"  # matches no pattern, so its number is that of all unmatched names
    found = numbers_by_matcher([*names, *([unknown] if isinstance(matcher, dict) else [])], matcher)
    numbers: dict[str, int] = {}
    previous = 0
    for name in names:
        if found[name] != found.get(unknown):
            previous = found[name]
        numbers[name] = previous
    # Patterns such as ^norm, meant for the final norm, also take a norm in front of the blocks: it goes with the stem.
    blocks = [position for position, name in enumerate(names) if numbers[name] == 1]
    return {name: 0 if position < min(blocks, default=0) else numbers[name] for position, name in enumerate(names)}


def _items_of_largest(model: nn.Module) -> list[str]:
    """Names of the parts of the largest part of a model without lists of blocks: its stages."""
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    largest = max(sizes, key=lambda name: sizes[name])
    return [f"{largest}.{name}" for name, _ in model.get_submodule(largest).named_children()]


def forget_results(model: nn.Module) -> None:
    """Empty what layers keep of a run for the next ones, such as the position biases of LeViT: it has a graph."""
    for module in model.modules():
        for kept in vars(module).values():
            if isinstance(kept, dict) and any(isinstance(v, Tensor) and v.grad_fn is not None for v in kept.values()):
                kept.clear()
