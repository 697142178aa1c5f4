"""What a gradient reaches."""

from __future__ import annotations

from torch import Tensor


def reached_leaves(result: Tensor) -> set[int]:
    """Ids of the tensors that a gradient of `result` would reach, read off its graph; none is computed."""
    found, seen, waiting = set(), set(), [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting.extend(before for before, _ in node.next_functions)
    return found
