"""Bootstrap intervals for samples that come in blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from lightning_tl.metrics.small_samples import small_sample_ends

_CELLS_AT_ONCE = 4_000_000  # of the [draws, blocks] table: 32 MB
_NORMAL_FROM = 20_000  # different blocks; the percentiles of so many are those of a normal distribution


@dataclass(frozen=True)
class BootstrapInterval:
    """A mean and its percentile interval.

    Args:
        mean: of the values as they are.
        low: lower end.
        high: upper end.
        level: share of the draws between the ends, in (0, 1).
        samples: number of values.
        blocks: number of blocks that were drawn from; `samples` when every sample is its own block.
        method: how the ends were found: "bootstrap", "normal", "Wilson" or "t".
    """

    mean: float
    low: float
    high: float
    level: float
    samples: int
    blocks: int
    method: str = "bootstrap"

    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


def bootstrap_mean(
    values: ArrayLike,
    blocks: ArrayLike | None = None,
    draws: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> BootstrapInterval:
    """Interval of a mean over samples that come in blocks: of many, whole blocks are drawn with replacement.

    Neighbouring samples (tiles of one region, queries of one user) resemble each other, so an interval that draws
    single samples is too narrow. Here as many blocks as there are are drawn with replacement, each with all of its
    samples, and the statistic of a draw is the ratio sum(values) / sum(samples) over the drawn blocks: the cluster
    bootstrap of Davison & Hinkley (1997, section 3.8) with the percentile interval of Efron & Tibshirani (1993,
    chapter 13). Künsch (1989) introduced drawing blocks, for overlapping ones of a series; ours are fixed.

    Blocks with the same sum and size are interchangeable, so the draws are multinomial counts over the distinct
    ones. For independent right-or-wrong samples that leaves two, however many samples there are. Where 20,000 or more
    are left, the interval is the normal one with the linearised standard error of a ratio over blocks (Cochran 1977,
    section 6.3), to which the bootstrap's converges, at a fraction of its cost.

    Where drawing blocks says too little, other intervals take its place. Shares of samples that are independent, or
    that come in fewer than 30 blocks or with fewer than 10 blocks that hold the rarer outcome, have Wilson's (1927)
    interval, with the effective number of samples of the blocks and, for their small number, Student's quantile in
    place of the normal one (Dean & Pagano 2015); where all are alike, each block counts once. Other means of fewer than
    30 blocks have Student's interval with the linearised error. So no interval is a point.

    Args:
        values: [n] numbers, for an accuracy 1 where the prediction is right and 0 where not.
        blocks: [n] block of each sample, any values that can be sorted; None when the samples are independent.
        draws: number of bootstrap draws.
        level: coverage, in (0, 1).
        seed: of the draws; the same input and seed give the same interval.
        bounds: least and greatest value that could have been, where they are known.

    Raises:
        ValueError: for no values, values that are not finite, fewer than two blocks, or arguments out of range.
    """
    samples = np.asarray(values, dtype=np.float64)
    if samples.ndim != 1 or len(samples) == 0:
        raise ValueError(f"values must be one row of at least one number, got shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError(f"values must be finite, got {int((~np.isfinite(samples)).sum())} that are not")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    sums, sizes = _block_sums(samples, blocks)
    if len(sums) < 2:
        raise ValueError("an interval needs at least 2 blocks, got 1; pass blocks=None if the samples are independent")
    mean = float(samples.mean())
    if few := small_sample_ends(samples, sums, sizes, level, blocks is None, bounds):
        return BootstrapInterval(mean, few.low, few.high, level, len(samples), len(sums), few.method)
    # Sums that differ only by rounding are one kind; sorting them makes the result blind to the order of the samples.
    kinds, counts = np.unique(np.stack([np.round(sums, 12), sizes], axis=1), axis=0, return_counts=True)
    method = "normal" if len(kinds) >= _NORMAL_FROM else "bootstrap"
    if len(kinds) >= _NORMAL_FROM:
        low, high = _normal_ends(sums, sizes, level)
    else:
        means = _draw_means(kinds, counts, draws, np.random.default_rng(seed))
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(mean, float(low), float(high), level, len(samples), len(sums), method)


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    blocks: ArrayLike | None = None,
    draws: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> BootstrapInterval:
    """Percentile interval of mean(first) - mean(second), both measured on the same samples.

    Each draw takes the same blocks for both, so what makes a block hard for both cancels.

    Args:
        first: [n] numbers.
        second: [n] numbers of the same samples in the same order.
        blocks: as for `bootstrap_mean`, and so are the other arguments.
        draws: how often blocks are drawn, at least 1.
        level: share of the draws inside the interval, in (0, 1).
        seed: of the draws.

    Raises:
        ValueError: when the two differ in length, and as `bootstrap_mean`.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"a paired difference needs the same samples twice, got {a.shape} and {b.shape} values")
    inside = all(len(x) and x.min() >= 0 and x.max() <= 1 for x in (a, b))
    return bootstrap_mean(a - b, blocks, draws, level, seed, bounds=(-1.0, 1.0) if inside else None)


def _block_sums(samples: NDArray[np.float64], blocks: ArrayLike | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sum of the values and number of samples of each block: [blocks], [blocks]."""
    if blocks is None:
        return samples, np.ones_like(samples)
    labels = np.asarray(blocks)
    if labels.shape != samples.shape:
        raise ValueError(f"blocks must name one block for each of {len(samples)} values, got shape {labels.shape}")
    _, number = np.unique(labels, return_inverse=True)
    return np.bincount(number, weights=samples), np.bincount(number).astype(np.float64)


def _normal_ends(sums: NDArray[Any], sizes: NDArray[Any], level: float) -> tuple[float, float]:
    """Ends of the normal interval of sum(sums) / sum(sizes)."""
    ratio, count = sums.sum() / sizes.sum(), len(sums)
    error = math.sqrt(count / (count - 1) * float(np.square(sums - ratio * sizes).sum())) / sizes.sum()
    reach = float(norm.ppf((1 + level) / 2)) * error
    return ratio - reach, ratio + reach


def _draw_means(
    kinds: NDArray[Any], counts: NDArray[Any], draws: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The ratio of each draw: [draws].

    Args:
        kinds: [kinds, 2] different pairs of sum and size.
        counts: [kinds] how many blocks are of each.
        draws: how often blocks are drawn.
        generator: the source of chance.
    """
    share, blocks = counts / counts.sum(), int(counts.sum())
    step = max(1, _CELLS_AT_ONCE // len(kinds))
    means = []
    for start in range(0, draws, step):
        drawn = generator.multinomial(blocks, share, size=min(step, draws - start))  # [draws, kinds]
        totals = drawn @ kinds  # [draws, 2]
        means.append(totals[:, 0] / totals[:, 1])
    return np.concatenate(means)
