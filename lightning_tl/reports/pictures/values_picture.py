"""predicted_against_true.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.display_text import short_names
from lightning_tl.reports.pictures.picture_style import BLUE, GREY, picture

_MOST_TARGETS, _MOST_POINTS = 6, 5_000


def draw_values(target: NDArray[Any], predicted: NDArray[Any], names: Sequence[str], path: Path) -> None:
    """A panel for each of the first six targets: true values across, predicted ones up, equal on the diagonal.

    Args:
        target: [n, targets] true values.
        predicted: as `target`.
        names: of the targets.
        path: of the PNG file.
    """
    shown = list(names)[:_MOST_TARGETS]
    rows = np.arange(len(target))
    if len(rows) > _MOST_POINTS:
        rows = np.random.default_rng(0).choice(rows, _MOST_POINTS, replace=False)
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    with picture(path, 4.2 * columns + 0.6, 4.2 * lines + 0.6) as figure:
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid[len(shown) :]:
            axes.set_axis_off()
        for k, (axes, name) in enumerate(zip(grid, short_names(shown, 40), strict=False)):
            truth, guess = target[rows, k], predicted[rows, k]
            low, high = float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))
            axes.plot([low, high], [low, high], color=GREY, linewidth=1)
            axes.plot(truth, guess, ".", color=BLUE, markersize=4, alpha=0.4, markeredgewidth=0)
            axes.set_xlabel("true value")
            axes.set_ylabel("predicted value")
            axes.set_title(name)
