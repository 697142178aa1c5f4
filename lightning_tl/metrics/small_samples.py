"""Intervals for few samples or blocks, and for shares near 0 or 1, where a bootstrap is too sure of itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

_FEW_BLOCKS = 30
_RARE = 10  # blocks that hold the rarer outcome


@dataclass(frozen=True)
class Ends:
    """Ends of an interval, and how they were found."""

    low: float
    high: float
    method: str


def small_sample_ends(
    samples: NDArray[np.float64],
    sums: NDArray[Any],
    sizes: NDArray[Any],
    level: float,
    independent: bool,
    bounds: tuple[float, float] | None = None,
) -> Ends | None:
    """The interval of a mean where a bootstrap would not do; None where it does.

    Args:
        samples: [n] values.
        sums: [blocks] their sums by block.
        sizes: [blocks] how many each block has.
        level: coverage.
        independent: whether each sample is a block of its own.
        bounds: least and greatest value that could have been.
    """
    count, mean = len(sums), float(samples.mean())
    share = bool(np.isin(samples, (0.0, 1.0)).all()) and bounds in (None, (0.0, 1.0))
    if share and (independent or count < _FEW_BLOCKS or _rarer(sums, sizes) < _RARE):
        return _wilson_ends(mean, _effective(sums, sizes, independent), level)
    error = _error(sums, sizes)
    if error == 0:
        return _of_equals(samples, count, level, bounds)
    if count >= _FEW_BLOCKS:
        return None
    reach = float(t.ppf((1 + level) / 2, count - 1)) * error
    least, most = bounds or (-math.inf, math.inf)
    return Ends(max(least, mean - reach), min(most, mean + reach), "t")


def wilson(share: float, count: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (1927; Brown, Cai & DasGupta 2001, equation 4), which holds the share.

    Args:
        share: in [0, 1].
        count: of samples, above 0; an effective number need not be whole.
        level: of confidence, in (0, 1).
    """
    z = float(norm.ppf((1 + level) / 2))
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    return min(low, share), max(high, share)  # of a share of 0 or 1, rounding could put an end beside the share


def _wilson_ends(share: float, effective: float, level: float) -> Ends:
    return Ends(*wilson(share, effective, level), "Wilson")


def _effective(sums: NDArray[Any], sizes: NDArray[Any], independent: bool) -> float:
    """The number of independent samples that tell as much as these blocks do.

    The variance of a share over that of as many independent samples is the design effect; with few blocks the variance
    itself is uncertain, for which Student's quantile stands.
    """
    total, count = float(sizes.sum()), len(sums)
    if independent:
        return total
    share, error = float(sums.sum()) / total, _error(sums, sizes)
    if error == 0 or share in (0.0, 1.0):
        return float(count)
    level = 0.975
    ratio = float(norm.ppf(level) / t.ppf(level, count - 1)) ** 2
    return min(total, max(1.0, share * (1 - share) / error**2 * ratio))


def _error(sums: NDArray[Any], sizes: NDArray[Any]) -> float:
    """Linearised standard error of sum(sums) / sum(sizes) over blocks (Cochran 1977, section 6.3)."""
    count, ratio = len(sums), sums.sum() / sizes.sum()
    residual = float(np.square(sums - ratio * sizes).sum())
    found = math.sqrt(count / (count - 1) * residual) / float(sizes.sum())
    return found if found > 1e-12 * max(1.0, abs(float(ratio))) else 0.0


def _rarer(sums: NDArray[Any], sizes: NDArray[Any]) -> int:
    """Blocks that hold an outcome, of the two outcomes that with fewer."""
    return int(min((sums > 0).sum(), (sums < sizes).sum()))


def _of_equals(samples: NDArray[np.float64], count: int, level: float, bounds: tuple[float, float] | None) -> Ends:
    """Where all blocks have one mean: as far as so many could be alike by chance and another share be different."""
    mean = float(samples.mean())
    least, most = bounds or _bounds(samples)
    other = wilson(0.0, count, level)[1]
    if not (math.isfinite(least) and math.isfinite(most)):
        spread = float(samples.std()) or abs(mean) or 1.0
        return Ends(mean - other * spread, mean + other * spread, "Wilson")
    return Ends(mean - other * (mean - least), mean + other * (most - mean), "Wilson")


def _bounds(samples: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(samples.min()), float(samples.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (-1.0, 1.0) if low >= -1 and high <= 1 else (-math.inf, math.inf)
