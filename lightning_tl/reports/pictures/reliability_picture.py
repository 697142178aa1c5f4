"""reliability.png."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lightning_tl.metrics import ReliabilityBin, confidence_of, reliability_bins
from lightning_tl.metrics.small_samples import wilson
from lightning_tl.reports.pictures.picture_style import BLUE, INK, ORANGE, picture


@dataclass(frozen=True)
class Panel:
    """One set of probabilities.

    Args:
        title: what it is called.
        probabilities: [n, classes].
        error: its expected calibration error.
    """

    title: str
    probabilities: NDArray[np.floating[Any]]
    error: float


def draw_reliability(panels: Sequence[Panel], target: NDArray[Any], path: Path) -> None:
    """How often answers of a confidence are right, in ten bins of about as many answers each.

    A bar is the share that is right, with its 95% interval (Wilson, as if samples were independent), the mark the mean
    confidence; calibrated probabilities have the marks at the tops of the bars.

    Args:
        panels: from left to right.
        target: [n] class numbers, or [n, labels] of 0 and 1.
        path: of the PNG file.
    """
    several = target.ndim == 2
    with picture(path, 5.4 * len(panels) + 0.4, 4.8) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True).ravel()
        for axes, panel in zip(grid, panels, strict=True):
            _panel(axes, reliability_bins(*confidence_of(panel.probabilities, target)))
            axes.set_title(f"{panel.title}: expected error {panel.error:.3f}")
            axes.set_xlabel("probability of a label" if several else "confidence, and number of samples")
        grid[0].set_ylabel("share that holds" if several else "share that is right")
        grid[0].legend(loc="upper left")


def _panel(axes: Axes, bins: Sequence[ReliabilityBin]) -> None:
    places = np.arange(len(bins))
    share = np.array([each.right for each in bins])
    ends = np.array([wilson(each.right, each.samples) for each in bins])
    axes.bar(places, share, 0.8, color=BLUE, alpha=0.45, label="share that is right, 95% interval")
    reach = np.abs(ends.T - share)
    axes.errorbar(places, share, reach, fmt="none", ecolor=BLUE, elinewidth=1.4, capsize=2.5)
    mean = [each.confidence for each in bins]
    axes.plot(places, mean, linestyle="none", marker="D", markersize=5.5, color=ORANGE, label="mean confidence")
    axes.set_xticks(places, [_name(each) for each in bins], rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0, labelsize=8)
    axes.grid(False, axis="x")
    axes.set_ylim(0, 1.18)  # room for the legend
    axes.set_yticks(np.linspace(0, 1, 6), [f"{value:.0%}" for value in np.linspace(0, 1, 6)])
    for place, each in zip(places, bins, strict=True):
        axes.text(float(place), 0.012, f"{each.samples:,}", ha="center", va="bottom", color=INK, fontsize=8)


def _name(each: ReliabilityBin) -> str:
    low, high = f"{each.lowest:.3f}", f"{each.highest:.3f}"
    return low if low == high else f"{low} to {high}"
