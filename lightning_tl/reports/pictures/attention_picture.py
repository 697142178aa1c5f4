"""An image beside what the class token looks at in it, head by head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_tl.reports.display_text import short_name
from lightning_tl.reports.pictures.picture_style import GREY, picture

_COLUMNS = 5
_SIDE = 2.1  # inches


def draw_attention(image: NDArray[np.uint8], maps: NDArray[np.float32], name: str, path: Path) -> None:
    """Draw the image, the mean over the heads, and each head, each with a scale of its own.

    Args:
        image: what the model sees, as it looks: [side, side, 3].
        maps: [heads, rows, columns] probabilities.
        name: of the image.
        path: of the PNG file.
    """
    panels = len(maps) + 2
    lines = -(-panels // _COLUMNS)
    with picture(path, _SIDE * min(_COLUMNS, panels) + 0.6, (_SIDE + 0.15) * lines + 0.6) as figure:
        figure.suptitle(short_name(name, 80), fontweight="bold", fontsize=11, x=0.005, ha="left")
        axes = figure.subplots(lines, min(_COLUMNS, panels), squeeze=False).ravel()
        axes[0].imshow(image, interpolation="nearest")
        axes[0].set_title("image", fontsize=9, fontweight="normal")
        _draw(figure, axes[1], maps.mean(0), "mean of heads")
        for head, (place, found) in enumerate(zip(axes[2:], maps, strict=False), start=1):
            _draw(figure, place, found, f"head {head}")
        for place in axes:
            place.set_axis_off()
        figure.supxlabel(
            "probability that the class token attends to a patch, last block; % is the share of all patches together",
            fontsize=7,
            color=GREY,
            x=0.005,
            ha="left",
        )


def _draw(figure: Figure, axes: Any, found: NDArray[np.float32], title: str) -> None:
    shown = axes.imshow(found, interpolation="nearest", cmap="viridis", vmin=0)
    axes.set_title(f"{title}, {found.sum():.0%}", fontsize=9, fontweight="normal")
    scale = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02, ticks=[0, float(found.max())], format="%.2g")
    scale.ax.tick_params(labelsize=7)
    scale.outline.set_visible(False)
