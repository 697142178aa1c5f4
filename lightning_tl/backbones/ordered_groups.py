"""From a number for every tensor to a list of layer groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from lightning_tl.contracts.layer_groups import LayerGroup


def tensor_names(module: nn.Module) -> list[str]:
    """Names of all parameters and buffers in the order of registration, a module's own before its children's."""
    return [f"{prefix}.{name}" if prefix else name for prefix, m in module.named_modules() for name in _own_tensors(m)]


def _own_tensors(module: nn.Module) -> list[str]:
    own: list[str] = [name for name, _ in module.named_parameters(recurse=False, remove_duplicate=False)]
    return own + [name for name, _ in module.named_buffers(recurse=False, remove_duplicate=False)]


def numbers_by_block(names: Iterable[str], block: re.Pattern[str]) -> dict[str, int]:
    """Number tensors by the block they lie in: 0 before the first block, then 1, 2 and so on.

    What lies between two blocks (a downsampling layer) goes with the block that follows; what follows the last
    block (the final norm) goes with the last.

    Args:
        names: in order of registration.
        block: matches a block's name at the start of the names of its tensors, as its first group. A match that holds
            other matches is a stage and no block.
    """
    ordered = list(names)
    matches = {name: match.group(1) for name in ordered if (match := block.match(name))}
    stages = {prefix for prefix in matches.values() if any(m.startswith(prefix + ".") for m in set(matches.values()))}
    matches = {name: prefix for name, prefix in matches.items() if prefix not in stages}
    count = {prefix: k for k, prefix in enumerate(dict.fromkeys(matches.values()), start=1)}
    numbers: dict[str, int] = {}
    following = len(count)
    for name in reversed(ordered):
        following = count[matches[name]] if name in matches else following
        numbers[name] = following
    for name in ordered:
        if name in matches:
            break
        numbers[name] = 0
    return numbers


def blocks_by_structure(root: nn.Module) -> list[str]:
    """Names of a model's blocks: the items of its largest list of modules, or those of the lists within the items.

    A list within an item counts where it holds more than half of the item's weights: the item is a stage. Other items,
    such as the downsampling between two stages, are then no blocks.
    """
    lists = {name: module for name, module in root.named_modules() if isinstance(module, nn.ModuleList)}
    outermost = {name: module for name, module in lists.items() if not _inside(name, lists)}
    if not outermost:
        return []
    largest = max(outermost, key=lambda name: _weights(outermost[name]))
    found: dict[str, list[str]] = {}
    for key, item in outermost[largest].named_children():
        inner = {name: part for name, part in item.named_modules() if isinstance(part, nn.ModuleList)}
        held = {name: part for name, part in inner.items() if 2 * _weights(part) > _weights(item)}
        if held:
            name, part = min(held.items(), key=lambda entry: len(entry[0]))  # the outermost
            found[key] = [".".join(filter(None, (largest, key, name, number))) for number, _ in part.named_children()]
    blocks = [block for names in found.values() for block in names]
    return blocks or [f"{largest}.{key}" for key, item in outermost[largest].named_children() if _weights(item)]


def by_call(names: Sequence[str], called: Sequence[str]) -> list[str]:
    """Names of tensors in the order in which the modules that hold them are called.

    Args:
        names: in order of registration, which is kept within a module and where a module is called by none.
        called: names of modules in the order of their calls. What was put inside of one since goes with it.
    """
    place = {name: number for number, name in reversed(list(enumerate(called)))}
    placed: list[tuple[int, str]] = []
    for name in names:
        parts = name.split(".")[:-1]
        known = next((place[m] for k in range(len(parts), 0, -1) if (m := ".".join(parts[:k])) in place), -1)
        placed.append((known, name))
    return [name for _, name in sorted(placed, key=lambda entry: entry[0])]


def _inside(name: str, lists: Mapping[str, nn.Module]) -> bool:
    return any(name.startswith(f"{other}.") for other in lists)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def ordered_groups(root: nn.Module, numbers: Mapping[str, int], prefix: str = "") -> list[LayerGroup]:
    """Group tensors of equal number, in rising order: `embeddings`, `block.0`, `block.1` and so on.

    A group's modules are the largest ones that lie wholly inside it, so that putting them in evaluation mode reaches
    every dropout, drop path and normalisation of the group and of no other. A layer without tensors goes with the
    layer registered before it.

    Args:
        root: the model.
        numbers: for every parameter and buffer of `root`.
        prefix: of `root`'s parameters in the model that returns the groups, with its dot.
    """
    parameters = [name for name, _ in root.named_parameters()]
    used = sorted({numbers[name] for name in parameters})
    modules = _modules_by_number(root, numbers)
    groups = []
    for position, number in enumerate(used):
        # a number that only buffers have goes with the group before it
        upper = used[position + 1] if position + 1 < len(used) else float("inf")
        inside = tuple(m for k, found in modules.items() if (k >= number or position == 0) and k < upper for m in found)
        named = frozenset(prefix + name for name in parameters if numbers[name] == number)
        groups.append(LayerGroup("embeddings" if position == 0 else f"block.{position - 1}", named, inside))
    return groups


def _modules_by_number(root: nn.Module, numbers: Mapping[str, int]) -> dict[int, list[nn.Module]]:
    own: dict[nn.Module, set[int]] = {}
    previous = 0
    for prefix, module in root.named_modules():
        own[module] = {numbers[f"{prefix}.{name}" if prefix else name] for name in _own_tensors(module)}
        if own[module]:
            previous = max(own[module])
        elif not any(True for _ in module.children()):
            own[module] = {previous}
    found: dict[int, list[nn.Module]] = {}
    taken: set[nn.Module] = set()

    def visit(module: nn.Module) -> None:
        if module in taken:
            return
        inside = set().union(*(own[child] for child in module.modules()))
        if len(inside) == 1:
            taken.update(module.modules())
            found.setdefault(inside.pop(), []).append(module)
            return
        for child in module.children():
            visit(child)

    visit(root)
    return found
