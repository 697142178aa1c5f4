"""Intervals of a mean over repeated runs on samples that come in blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.block_bootstrap import BootstrapInterval, bootstrap_mean
from lightning_tl.metrics.small_samples import small_sample_ends

_AT_ONCE = 500  # draws of the bootstrap


def crossed_bootstrap(
    values: ArrayLike,
    blocks: ArrayLike | None = None,
    draws: int = 4_000,
    level: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> BootstrapInterval:
    """Interval of the mean of a table of runs by samples, both of which are drawn with replacement.

    Another set of test samples and another draw of the training data would both have given other numbers. So runs and
    blocks are drawn anew, independently of one another: the pigeonhole bootstrap of Owen (2007, "The pigeonhole
    bootstrap", section 3), which is somewhat too wide rather than too narrow. With few runs their spread is known
    badly; the interval is never narrower than that of the runs' mean over blocks alone (see `bootstrap_mean`), which
    is what one run has.

    Args:
        values: [runs, n] a number for each sample, the samples in one order.
        blocks: [n] block of each sample; None where samples are independent.
        draws: number of bootstrap draws.
        level: coverage, in (0, 1).
        seed: of the draws.
        bounds: as for `bootstrap_mean`.

    Raises:
        ValueError: no table, or as `bootstrap_mean`.
    """
    return crossed_bootstraps([values], blocks, draws, (level,), seed, bounds)[0][0]


def crossed_bootstraps(
    tables: Sequence[ArrayLike],
    blocks: ArrayLike | None,
    draws: int,
    levels: Sequence[float],
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> list[list[BootstrapInterval]]:
    """`crossed_bootstrap` of many tables on the same samples, which are drawn once for all, at several levels.

    Args:
        tables: of runs by samples, [runs, n] each; the numbers of runs may differ.
        blocks: as for `crossed_bootstrap`, and so are the other arguments.
        draws: number of bootstrap draws.
        levels: coverages, in (0, 1).
        seed: of the draws.
        bounds: as for `bootstrap_mean`.

    Returns:
        for each table an interval at each level.

    Raises:
        ValueError: no table, or as `bootstrap_mean`.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in tables]
    for table in arrays:
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(f"values must be a table of at least one run and one sample, got shape {table.shape}")
        bootstrap_mean(table[0], blocks, draws=1, seed=seed, bounds=bounds)  # what it refuses
    found = [_block_table(table, blocks) for table in arrays]
    of_blocks, of_runs = np.random.default_rng(seed), [np.random.default_rng(seed + 1) for _ in arrays]
    means: list[list[NDArray[np.float64]]] = [[] for _ in arrays]
    for start in range(0, draws, _AT_ONCE) if arrays else ():
        count, number = min(_AT_ONCE, draws - start), len(found[0][1])
        drawn = of_blocks.multinomial(number, np.full(number, 1 / number), size=count).astype(np.float64)
        for k, (sums, sizes) in enumerate(found):
            means[k].append(_means(sums, sizes, drawn, of_runs[k]))
    return [
        [_interval(table, *sides, np.concatenate(parts, 1), level, blocks is None, bounds) for level in levels]
        for table, sides, parts in zip(arrays, found, means, strict=True)
    ]


def _interval(
    table: NDArray[np.float64],
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    means: NDArray[np.float64],
    level: float,
    independent: bool,
    bounds: tuple[float, float] | None,
) -> BootstrapInterval:
    """From the means [2, draws] of each draw: over blocks alone, and over runs too."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(means[0], tails)
    method = "bootstrap"
    if few := small_sample_ends(table.mean(0), sums.mean(0), sizes, level, independent, bounds):
        low, high, method = few.low, few.high, few.method
    if len(table) > 1:
        ends = np.quantile(means[1], tails)
        low, high = min(low, ends[0]), max(high, ends[1])
        method = f"bootstrap over runs and {'samples' if independent else 'blocks'}"
    return BootstrapInterval(float(table.mean()), float(low), float(high), level, table.size, len(sizes), method)


def _block_table(
    table: NDArray[np.float64], blocks: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of each run and block [runs, blocks], and the samples of each block [blocks]."""
    if blocks is None:
        return table, np.ones(table.shape[1])
    _, number = np.unique(np.asarray(blocks), return_inverse=True)
    count = int(number.max()) + 1
    sums = np.stack([np.bincount(number, weights=row, minlength=count) for row in table]).astype(np.float64)
    return sums, np.bincount(number, minlength=count).astype(np.float64)


def _means(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], drawn: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """The mean of each draw, of all runs and of drawn ones: [2, draws].

    Args:
        sums: [runs, blocks] of each run and block.
        sizes: [blocks] samples of each block.
        drawn: [draws, blocks] how often each block is drawn.
        generator: draws the runs.
    """
    runs = len(sums)
    of_runs = generator.multinomial(runs, np.full(runs, 1 / runs), size=len(drawn))
    totals = drawn @ sums.T  # [draws, runs]
    both = np.stack([totals.sum(1), (of_runs * totals).sum(1)])
    means: NDArray[np.float64] = both / (runs * (drawn @ sizes))
    return means
