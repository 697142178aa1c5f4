"""Bootstrap intervals of scores that are made of sums over samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.block_bootstrap import BootstrapInterval, bootstrap_mean
from lightning_tl.metrics.small_samples import wilson

_CELLS_AT_ONCE = 4_000_000  # of the [draws, blocks] table: 32 MB

Scores = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def bootstrap_scores(
    values: ArrayLike,
    scores: Scores,
    blocks: ArrayLike | None = None,
    draws: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> list[BootstrapInterval] | None:
    """Percentile intervals of scores that depend on the samples by sums alone, from whole blocks drawn again.

    As `bootstrap_mean`, for scores such as F1 and R² that are no means. Draws in which a score is not defined (no
    number) are left out of its interval.

    Args:
        values: [n, m] what is summed of each sample.
        scores: sums [..., m] to scores [..., s].
        blocks: [n] block of each sample; None when the samples are independent.
        draws: number of bootstrap draws.
        level: coverage, in (0, 1).
        seed: of the draws.

    Returns:
        one interval for each score; None for fewer than two blocks.
    """
    samples = np.asarray(values, dtype=np.float64)
    if blocks is None:
        sums = samples
    else:
        _, number = np.unique(np.asarray(blocks), return_inverse=True)
        sums = np.stack([np.bincount(number, weights=column) for column in samples.T], axis=1)
    count = len(sums)
    if count < 2:
        return None
    kinds, sizes = np.unique(sums, axis=0, return_counts=True)  # blocks that are alike are interchangeable
    generator, found = np.random.default_rng(seed), []
    step = max(1, _CELLS_AT_ONCE // len(kinds))
    for start in range(0, draws, step):
        times = generator.multinomial(count, sizes / count, size=min(step, draws - start))  # [draws, kinds]
        found.append(scores(times @ kinds))
    drawn, whole = np.concatenate(found), scores(samples.sum(0))
    intervals = []
    for k in range(drawn.shape[1]):
        defined = drawn[np.isfinite(drawn[:, k]), k]
        ends = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if len(defined) else [np.nan, np.nan]
        low, high, value = float(ends[0]), float(ends[1]), float(whole[k])
        if low == high and 0 <= value <= 1:  # all blocks are alike: others might not be
            other = wilson(0.0, count, level)[1]
            low, high = value - other * value, value + other * (1 - value)
        intervals.append(BootstrapInterval(value, low, high, level, len(samples), count))
    return intervals


def mean_interval(values: NDArray[np.float64], blocks: NDArray[np.int64] | None) -> dict[str, Any] | None:
    """A mean's interval ready for JSON, and what it was drawn over; None for fewer than two blocks."""
    if len(np.unique(blocks) if blocks is not None else values) < 2:
        return None
    return interval_entry(bootstrap_mean(values, blocks), blocks)


def interval_entry(interval: BootstrapInterval, blocks: NDArray[np.int64] | None) -> dict[str, Any] | None:
    """An interval ready for JSON; None where it is not defined."""
    if not np.isfinite([interval.low, interval.high]).all():
        return None
    return {**asdict(interval), "over": "samples" if blocks is None else "blocks"}
