"""Maximum mean discrepancy: whether two samples come from one distribution, by a Gaussian kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from lightning_tl.choosing.distance.pair_of_samples import Features, Places, checked_blocks, checked_pair, drawn

EXACT, BY_BLOCKS = "exact U-statistic", "mean over blocks"
EXACT_PER_SIDE = 3_000
_FOR_THE_MEDIAN = 2_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Mmd:
    """The squared discrepancy, and how likely one as large is between two samples of one distribution.

    Args:
        squared: unbiased estimate of MMD², which may be below 0.
        p_value: of the hypothesis that both come from one distribution, in (0, 1].
        bandwidth: of the kernel exp(-distance² / (2 bandwidth²)), in units of the features.
        estimator: `EXACT` or `BY_BLOCKS`.
        draws: permutations behind the p-value; of the estimator over blocks, its blocks.
        samples: of source and target, that were used.
    """

    squared: float
    p_value: float
    bandwidth: float
    estimator: str
    draws: int
    samples: tuple[int, int]


def mmd(
    first: ArrayLike,
    second: ArrayLike,
    blocks: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    permutations: int = 500,
    seed: int = 0,
    exact_per_side: int = EXACT_PER_SIDE,
) -> Mmd:
    """Unbiased MMD² with a Gaussian kernel, as wide as the median distance is long, and its p-value.

    Gretton et al. (2012), equation 3 (the U-statistic) and section 8 (the median). Up to `exact_per_side` samples on
    the smaller side it is computed exactly, with all permutations from one kernel matrix; of a larger other side as
    many are drawn as bring both together to twice that. Beyond, Zaremba et al. (2013): the mean of U-statistics of
    2√n samples a side, in which every sample counts once, with memory for one block; its p-value is Student's over the
    blocks. Samples that come in blocks are exchanged block by block, and so the test holds where neighbours resemble
    each other.

    Args:
        first: [m, dim].
        second: [n, dim].
        blocks: of the samples of each, [m] and [n]; None when independent.
        permutations: behind the exact estimator's p-value, which is at least 1 / (permutations + 1).
        seed: of what is drawn.
        exact_per_side: see above.

    Raises:
        ValueError: as `checked_pair`, with at least two samples and two blocks a side; or no permutations.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    x, y = checked_pair(first, second, fewest=2)
    generator = np.random.default_rng(seed)
    of_x = checked_blocks(blocks[0], len(x), 0)
    of_y = checked_blocks(blocks[1], len(y), len(x))
    for name, of_side in (("source", of_x), ("target", of_y)):
        if of_side.min() == of_side.max():
            raise ValueError(f"the {name} has one block only; leave blocks out if its samples are independent")
    if min(len(x), len(y)) > exact_per_side:
        return _by_blocks(x, y, of_x, of_y, generator)
    room = 2 * exact_per_side
    from_x = drawn(of_x, room - min(len(y), exact_per_side), generator)
    from_y = drawn(of_y, room - min(len(x), exact_per_side), generator)
    return _exact(x[from_x], y[from_y], of_x[from_x], of_y[from_y], permutations, generator)


def _exact(
    x: Features, y: Features, of_x: Places, of_y: Places, permutations: int, generator: np.random.Generator
) -> Mmd:
    pooled = np.concatenate([x, y])
    distances = _squared_distances(pooled)
    width = _median(pooled, generator, distances)
    kernel = np.exp(distances / (-2 * width**2), out=distances)
    np.fill_diagonal(kernel, 0)
    sides = _exchanged(of_x, of_y, permutations, generator)  # [m + n, 1 + permutations]
    values = _u_statistics(kernel, sides)
    # An exchange that leaves both sides as they are must not be larger by rounding.
    as_large = int((values[1:] >= values[0] - _ROUNDING).sum())
    return Mmd(float(values[0]), (1 + as_large) / (1 + permutations), width, EXACT, permutations, (len(x), len(y)))


def _exchanged(of_x: Places, of_y: Places, permutations: int, generator: np.random.Generator) -> Features:
    """Columns of 1 for the first side and 0 for the second: as it is, then with blocks exchanged.

    The number of blocks of the first side stays; where they are of different size, that of its samples need not.
    """
    _, number = np.unique(np.concatenate([of_x, of_y]), return_inverse=True)
    first = len(np.unique(of_x))
    count = int(number.max()) + 1
    column = (number < first).astype(np.float64)
    columns = [column]
    for _ in range(permutations):
        chosen = np.zeros(count)
        chosen[generator.permutation(count)[:first]] = 1
        columns.append(chosen[number])
    return np.stack(columns, axis=1)


def _u_statistics(kernel: Features, sides: Features) -> Features:
    """Unbiased MMD² for each column of `sides`, from a kernel matrix whose diagonal is 0: one matrix product."""
    rows = kernel.sum(1)
    inside = np.einsum("np,np->p", sides, kernel @ sides)  # over pairs of the first side
    touching = sides.T @ rows
    m = sides.sum(0)
    n = len(kernel) - m
    across = touching - inside
    others = rows.sum() - 2 * touching + inside
    found: Features = inside / (m * (m - 1)) + others / (n * (n - 1)) - 2 * across / (m * n)
    return found


def _by_blocks(x: Features, y: Features, of_x: Places, of_y: Places, generator: np.random.Generator) -> Mmd:
    smaller = min(len(x), len(y))
    count = max(2, smaller // int(2 * math.sqrt(smaller)))
    orders = [np.argsort(_shuffled(of_side, generator), kind="stable") for of_side in (of_x, of_y)]
    width = _median(np.concatenate([x[orders[0][:: count // 2 + 1]], y[orders[1][:: count // 2 + 1]]]), generator)
    values = np.empty(count)
    parts = (np.array_split(order, count) for order in orders)
    for k, (in_x, in_y) in enumerate(zip(*parts, strict=True)):
        kernel = np.exp(_squared_distances(np.concatenate([x[in_x], y[in_y]])) / (-2 * width**2))
        np.fill_diagonal(kernel, 0)
        side = np.concatenate([np.ones(len(in_x)), np.zeros(len(in_y))])[:, None]
        values[k] = _u_statistics(kernel, side)[0]
    error = float(values.std(ddof=1)) / math.sqrt(count)
    mean = float(values.mean())
    p_value = float(t.sf(mean / error, count - 1)) if error > 0 else float(mean <= 0)
    return Mmd(mean, max(p_value, np.finfo(float).tiny), width, BY_BLOCKS, count, (len(x), len(y)))


def _shuffled(blocks: Places, generator: np.random.Generator) -> NDArray[np.float64]:
    """A random key of each sample by which blocks stay together: [n]."""
    _, number = np.unique(blocks, return_inverse=True)
    keys: NDArray[np.float64] = generator.random(int(number.max()) + 1)[number]
    return keys


def _squared_distances(values: Features) -> Features:
    """[n, n] of [n, dim]."""
    centred = values - values.mean(0)  # differences of large numbers lose digits
    norms = np.square(centred).sum(1)
    found: Features = centred @ centred.T
    found *= -2
    found += norms[:, None]
    found += norms
    np.maximum(found, 0, out=found)
    np.fill_diagonal(found, 0)
    return found


def _median(values: Features, generator: np.random.Generator, distances: Features | None = None) -> float:
    """Median distance between different samples; where most are equal, between those that are not.

    Of many samples, 2,000 are drawn. It depends on both samples together alone, so that exchanges leave it as it is.
    """
    if len(values) > _FOR_THE_MEDIAN:
        chosen = generator.choice(len(values), _FOR_THE_MEDIAN, replace=False)
        found = _squared_distances(values[chosen]) if distances is None else distances[np.ix_(chosen, chosen)]
    else:
        found = _squared_distances(values) if distances is None else distances
    pairs = found[np.triu_indices(len(found), 1)]
    middle = float(np.median(pairs))
    scale = float(np.square(values - values.mean(0)).sum(1).max())
    if middle <= _ROUNDING * scale:
        middle = float(np.median(pairs[pairs > _ROUNDING * scale])) if (pairs > _ROUNDING * scale).any() else scale
    return math.sqrt(middle)
