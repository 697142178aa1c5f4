"""Blocks whose parts lie in several lists."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def numbers_by_parallel_lists(model: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Number tensors by their blocks where several outermost lists of modules are equally long.

    XLM keeps the attentions of its layers in one list and their feed-forward parts in another: the k-th of each make
    block k. What is registered before the lists has number 0, what follows them goes with the last block.

    Args:
        model: whose lists of modules are looked at.
        names: of all tensors, in order of registration.

    Returns:
        nothing where there are no such lists.
    """
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    outer = {name: len(found) for name, found in lists.items() if not any(name.startswith(f"{o}.") for o in lists)}
    longest = [name for name, length in outer.items() if length == max(outer.values())]
    if len(longest) < 2:
        return {}
    numbers: dict[str, int] = {}
    for name in names:
        inside = next((start for start in longest if name.startswith(f"{start}.")), None)
        if inside is not None:
            numbers[name] = 1 + int(name.removeprefix(f"{inside}.").split(".")[0])
        else:
            numbers[name] = max(numbers.values(), default=0)
    return numbers
