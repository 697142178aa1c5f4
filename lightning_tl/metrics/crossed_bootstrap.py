"""Intervals of a mean over repeated runs on samples that come in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.block_bootstrap import BootstrapInterval, bootstrap_mean

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
    badly; the interval is never narrower than that of the runs' mean over blocks alone (`bootstrap_mean`), which is
    what one run has.

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
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"values must be a table of at least one run and one sample, got shape {table.shape}")
    plain = bootstrap_mean(table.mean(0), blocks, level=level, seed=seed, bounds=bounds)
    if len(table) == 1:
        return plain
    sums, sizes = _block_table(table, blocks)
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [_draw(sums, sizes, min(_AT_ONCE, draws - start), generator) for start in range(0, draws, _AT_ONCE)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(
        float(table.mean()),
        min(float(low), plain.low),
        max(float(high), plain.high),
        level,
        table.size,
        len(sizes),
        "bootstrap over runs and blocks" if blocks is not None else "bootstrap over runs and samples",
    )


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


def _draw(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], draws: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The mean of each draw: [draws]."""
    runs, blocks = sums.shape
    of_runs = generator.multinomial(runs, np.full(runs, 1 / runs), size=draws)
    of_blocks = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws)
    means: NDArray[np.float64] = np.einsum("dr,rb,db->d", of_runs, sums, of_blocks, optimize=True) / (
        runs * (of_blocks @ sizes)
    )
    return means
