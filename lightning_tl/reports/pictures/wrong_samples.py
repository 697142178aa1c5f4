"""wrong_tiles.png: a sheet of the images that a model got wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.display_text import before_more, short_name, short_names
from lightning_tl.reports.mistakes import Mistake
from lightning_tl.reports.pictures.mistakes_sheet import draw_mistakes
from lightning_tl.reports.pictures.picture_style import GREY, picture
from lightning_tl.reports.predictions import Predictions

_COLUMNS = 6
_SMALL = 160  # pixels; below this, single pixels are shown as squares


def draw_wrong_samples(
    predictions: Predictions,
    class_names: Sequence[str],
    image: Callable[[int], NDArray[np.uint8]],
    ids: Callable[[Sequence[int]], Sequence[str]],
    path: Path,
    count: int = 24,
) -> int:
    """Draw the most confident mistakes with true and predicted class; no file is written when there are none.

    Args:
        predictions: one label a sample.
        class_names: in the order of the model's outputs.
        image: the sample of an index as it looks: [height, width, 3].
        ids: names of samples by index.
        path: of the PNG file.
        count: the most images to draw.

    Returns:
        the number of images drawn.
    """

    def draw(chosen: list[Mistake], title: str) -> None:
        truths = dict(zip(class_names, short_names(class_names, 18), strict=True))
        guesses = dict(zip(class_names, short_names(class_names, 12), strict=True))
        columns = min(_COLUMNS, max(4, len(chosen)))  # four, so that the title fits
        rows = -(-len(chosen) // columns)
        with picture(path, 1.75 * columns, 2.25 * rows + 0.45) as figure:
            figure.suptitle(title, fontweight="bold", fontsize=11, x=0.005, ha="left")
            grid = figure.subplots(rows, columns, squeeze=False).ravel()
            for axes in grid[len(chosen) :]:
                axes.set_axis_off()
            for axes, mistake in zip(grid, chosen, strict=False):
                guess = before_more(guesses[mistake.guess])
                lines = f"true: {truths[mistake.truth]}\npredicted: {guess} {mistake.confidence:.0%}"
                _draw(axes, image(mistake.index), lines, short_name(mistake.name, 24))

    return draw_mistakes(predictions, class_names, ids, path, count, draw)


def _draw(axes: Any, pixels: NDArray[np.uint8], lines: str, name: str) -> None:
    axes.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) < _SMALL else "antialiased")
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(lines, fontsize=8, fontweight="normal", loc="left", pad=3)
    axes.set_xlabel(name, fontsize=6.5, color=GREY, loc="left", labelpad=2)
