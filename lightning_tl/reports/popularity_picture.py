"""popularity.png: where targets stand, by how often they were taken in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.picture_style import BLUE, GREEN, GREY, ORANGE, PURPLE, picture

_BANDS = 12
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)


def draw_popularity(counts: NDArray[np.int64], ranks: Mapping[str, NDArray[np.int64]], path: Path) -> None:
    """Each query of the first ranking as a point, and the median rank of every ranking by popularity.

    Args:
        counts: [queries] training events of each target.
        ranks: [queries] ranks from 1, by the name of what ranked; the first is drawn in points as well.
        path: of the PNG file.
    """
    x = counts + 1  # items that training never saw stand at 1
    edges = np.unique(np.quantile(x, np.linspace(0, 1, _BANDS + 1)))
    band = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(0, len(edges) - 2))
    with picture(path, 8.5, 5.0) as figure:
        axes = figure.subplots()
        first = next(iter(ranks.values()))
        jitter = np.random.default_rng(0).uniform(0.94, 1.06, (2, len(x)))
        axes.scatter(x * jitter[0], first * jitter[1], s=3, alpha=0.18, color=GREY, linewidths=0, rasterized=True)
        for (name, values), colour in zip(ranks.items(), _COLOURS, strict=False):
            present = np.unique(band)
            middles = [float(np.median(x[band == k])) for k in present]
            axes.plot(
                middles,
                [float(np.median(values[band == k])) for k in present],
                color=colour,
                marker="o",
                markersize=4,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.invert_yaxis()
        axes.set_xlabel("training events of the target, plus 1")
        axes.set_ylabel("rank of the target (1 is best)")
        axes.set_title("Rank by popularity: points are queries, lines medians")
        axes.legend(loc="lower right")
