"""The search of an arm's rate on validation: of equal size for all, and going on past an end of the grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np


def first_rates(grid: Sequence[float | None], size: int) -> list[float]:
    """The middle `size` rates of a grid; fewer where it has fewer."""
    rates = [rate for rate in grid if rate is not None]
    first = max(0, len(rates) - size) // 2
    return rates[first : first + size]


def search_rate(
    grid: Sequence[float], size: int, losses: Callable[[Sequence[float]], Mapping[float, float]]
) -> tuple[float | None, dict[float, float]]:
    """The rate with the lowest loss on validation.

    The middle `size` rates of the grid are tried first. Where the best lies at an end of those tried, the next one
    beyond is tried too, until it does not.

    Args:
        grid: rates, ascending.
        size: how many to begin with.
        losses: of each rate, by which less is better; not finite where its runs failed.

    Returns:
        the best rate, None where all failed; and the loss of each rate that was tried.
    """
    begun = first_rates(grid, size)
    first, last = grid.index(begun[0]), grid.index(begun[-1])
    found = dict(losses(begun))
    while True:
        finite = {rate: loss for rate, loss in sorted(found.items()) if np.isfinite(loss)}
        if not finite:
            return None, found
        best = min(finite, key=lambda rate: finite[rate])
        if size > 1 and best == grid[first] and first > 0:
            first -= 1
            found |= losses([grid[first]])
        elif size > 1 and best == grid[last] and last < len(grid) - 1:
            last += 1
            found |= losses([grid[last]])
        else:
            return best, found
