"""popularity.png: where targets stand, by how often they were taken in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from lightning_tl.reports.pictures.picture_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, picture

_BANDS = 12
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK)


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
        shade = float(np.clip(300 / max(1, len(x)) ** 0.8, 0.12, 0.6))
        name = next(iter(ranks))
        axes.scatter(
            x * jitter[0], first * jitter[1], s=5, alpha=shade, color=GREY, linewidths=0, rasterized=True, zorder=1
        )
        axes.scatter([], [], s=12, color=GREY, label=f"queries of {name}")
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
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("training events of the target, plus 1")
        axes.set_ylabel("rank of the target (1 is best)")
        axes.set_title("Rank by popularity of the target: lines are medians")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
