"""confusion_matrix.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.display_text import short_names
from lightning_tl.reports.pictures.picture_style import INK, picture

_MOST_CLASSES_WITH_NUMBERS = 20


def draw_confusion(counts: NDArray[np.int64], class_names: Sequence[str], path: Path, noun: str = "") -> None:
    """Rows are true classes and sum to 100%; each field also gives its number of samples, or of pixels.

    Args:
        counts: [classes, classes], samples of true class (row) predicted as class (column).
        class_names: in that order.
        path: of the PNG file.
        noun: what is counted, for the title.
    """
    number = len(class_names)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(16.0, max(4.2, 0.85 * number if number <= _MOST_CLASSES_WITH_NUMBERS else 0.2 * number))
    with picture(path, side + 2.6, side + 1.2) as figure:
        axes = figure.subplots()
        drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        names = short_names(class_names, 24)
        size = 9.5 if number <= 30 else 6
        axes.set_xticks(range(number), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(range(number), names, fontsize=size)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        right = np.trace(counts) / max(1, counts.sum())
        axes.set_title(f"Confusion on the test set: {right:.1%} of {counts.sum():,} {noun} right".replace("  ", " "))
        if number <= _MOST_CLASSES_WITH_NUMBERS:
            for row, column in np.ndindex(number, number):
                if counts[row, column]:
                    colour = "white" if share[row, column] > 0.55 else INK
                    text = f"{share[row, column]:.0%}\n{counts[row, column]:,}"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, format=lambda value, _: f"{value:.0%}")
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
