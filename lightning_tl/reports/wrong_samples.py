"""wrong_tiles.png: a sheet of the images that a model got wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.picture_style import GREY, picture
from lightning_tl.reports.predictions import Predictions

_COLUMNS = 6
_SMALL = 160  # pixels; below this, single pixels are shown as squares


def most_confident_mistakes(predictions: Predictions, count: int) -> NDArray[np.int64]:
    """Rows of `predictions` that are wrong, the most confident first, at most `count`."""
    wrong = np.flatnonzero(predictions.predicted != predictions.target)
    confidence = predictions.probabilities.max(1)[wrong]
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


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
    chosen = most_confident_mistakes(predictions, count)
    if len(chosen) == 0:
        path.unlink(missing_ok=True)  # from an earlier test of the same run
        return 0
    index = [int(k) for k in predictions.index[chosen]]
    names = list(ids(index))
    columns = min(_COLUMNS, max(4, len(chosen)))  # four, so that the title fits
    rows = -(-len(chosen) // columns)
    total = int((predictions.predicted != predictions.target).sum())
    with picture(path, 1.75 * columns, 2.25 * rows + 0.45) as figure:
        which = f"all {total}" if total == len(chosen) else f"the {len(chosen)} most confident of {total:,}"
        title = f"Wrong predictions on the test set: {which}"
        figure.suptitle(title, fontweight="bold", fontsize=11, x=0.005, ha="left")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(chosen) :]:
            axes.set_axis_off()
        for axes, row, number, name in zip(grid, chosen, index, names, strict=False):
            guess = int(predictions.predicted[row])
            confidence = float(predictions.probabilities[row, guess])
            truth = class_names[int(predictions.target[row])]
            _draw(axes, image(number), truth, class_names[guess], confidence, name)
    return len(chosen)


def _draw(axes: Any, pixels: NDArray[np.uint8], truth: str, guess: str, confidence: float, name: str) -> None:
    axes.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) < _SMALL else "antialiased")
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    lines = f"true: {_cut(truth, 18)}\npredicted: {_cut(guess, 12)} {confidence:.0%}"
    axes.set_title(lines, fontsize=8, fontweight="normal", loc="left", pad=3)
    axes.set_xlabel(name if len(name) <= 24 else f"…{name[-23:]}", fontsize=6.5, color=GREY, loc="left", labelpad=2)


def _cut(text: str, length: int) -> str:
    """The text, its middle left out when it is longer than `length`."""
    return text if len(text) <= length else f"{text[: length - 7]}…{text[-6:]}"
