"""masks.png: images, true masks and predicted masks side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lightning_tl.contracts.batches import IGNORED
from lightning_tl.contracts.mask_legend import UNKNOWN_COLOUR, Colour, MaskLegend
from lightning_tl.reports.display_text import short_name, short_names
from lightning_tl.reports.pictures.picture_style import GREY, picture

_LEGEND_COLUMNS = 6


@dataclass(frozen=True)
class MaskRow:
    """One image of the sheet.

    Args:
        name: of the image.
        miou: its mean IoU; None where it has no known pixel.
        image: as it looks: [height, width, 3].
        truth: [height, width] classes, `IGNORED` where not known.
        predicted: [height, width] classes.
    """

    name: str
    miou: float | None
    image: NDArray[np.uint8]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]


def rows_to_show(miou: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of images from the worst to the best, evenly over their ranks."""
    known = np.flatnonzero(np.isfinite(miou))
    ordered = known[np.argsort(miou[known], kind="stable")]
    if len(ordered) <= count:
        return ordered
    chosen: NDArray[np.int64] = ordered[np.linspace(0, len(ordered) - 1, count).round().astype(int)]
    return chosen


def draw_masks(rows: Callable[[], Sequence[MaskRow]], legend: MaskLegend, path: Path) -> int:
    """Draw a row for each image: itself, its true mask, the predicted one, and where they differ; with a legend.

    Args:
        rows: makes them; no file is left where there are none.
        legend: names and colours of the classes.
        path: of the PNG file.

    Returns:
        the number of images drawn.
    """
    shown = rows()
    if not shown:
        path.unlink(missing_ok=True)
        return 0
    lines = -(-(len(legend.names) + 1) // _LEGEND_COLUMNS)
    with picture(path, 8.6, 2.25 * len(shown) + 0.7 + 0.25 * lines) as figure:
        figure.suptitle("Masks of test images, from the worst to the best", fontweight="bold", fontsize=11, x=0.005,
                        ha="left")  # fmt: skip
        grid = figure.subplots(len(shown), 4, squeeze=False)
        for axes, title in zip(grid[0], ("image", "true", "predicted", "wrong"), strict=True):
            axes.set_title(title, fontsize=9, fontweight="normal")
        for line, row in zip(grid, shown, strict=True):
            _draw(line, row, legend)
        figure.legend(handles=_patches(legend, shown), loc="outside lower left", ncols=_LEGEND_COLUMNS, fontsize=8)
    return len(shown)


def _draw(line: Any, row: MaskRow, legend: MaskLegend) -> None:
    wrong = (row.truth != row.predicted) & (row.truth != IGNORED)
    marked = np.where(wrong[:, :, None], legend.picture(row.predicted), (255 + row.image.astype(int) // 3 * 2) // 2)
    shown = (row.image, legend.picture(row.truth), legend.picture(row.predicted), marked.clip(0, 255).astype(np.uint8))
    for axes, pixels in zip(line, shown, strict=True):
        axes.imshow(pixels, interpolation="nearest")
        axes.grid(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    score = "" if row.miou is None else f"   mIoU {row.miou:.2f}"
    line[0].set_xlabel(f"{short_name(row.name, 40)}{score}", fontsize=7, color=GREY, loc="left", labelpad=2)


def _patches(legend: MaskLegend, rows: Sequence[MaskRow]) -> list[Any]:
    names = short_names(legend.names, 18)
    found = [Patch(color=_rgb(c), label=name) for name, c in zip(names, legend.colours, strict=True)]
    if any((row.truth == IGNORED).any() for row in rows):
        found.append(Patch(color=_rgb(UNKNOWN_COLOUR), label="not known"))
    return found


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
