"""How the pictures of a run look."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightning_tl.reports.pictures.picture_fonts import STANDARD, set_fonts
from lightning_tl.storage.partial_file import fresh_file

INK = "#22303c"
GREY = "#8a97a3"
BLUE = "#1f6fb2"
ORANGE = "#d9662b"
GREEN = "#2f8f6b"
PURPLE = "#7a4fa3"

_SETTINGS: Any = {
    "font.family": STANDARD,
    "font.size": 9.5,
    "text.parse_math": False,  # names of users may have a $
    "text.color": INK,
    "axes.edgecolor": "#b8c2cc",
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e9ee",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "white",
}


@contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure that is written to `path` at the end, without a display and without touching pyplot's state.

    Args:
        path: of the PNG file; its folder is made where it is not there.
        width: in inches, at 150 dots per inch.
        height: in inches.
    """
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)  # whose methods matplotlib leaves untyped
        figure.set_facecolor("white")
        yield figure
        set_fonts(figure)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.part")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # `set_fonts` said it, once
            with fresh_file(partial) as file:
                # Everything once; `savefig` would draw it twice.
                canvas.print_png(file, pil_kwargs={"compress_level": 3})
        partial.replace(path)


def steps_axis(axes: Axes, last: float) -> None:
    """Scale and number an x axis of optimizer steps from 0 to `last`."""
    axes.set_xlim(0, last * 1.008)  # room for the last marker
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("optimizer step")


def gradient(count: int) -> list[tuple[float, float, float, float]]:
    """Colours of layers from input (dark) to output (bright), all readable on white."""
    colours = matplotlib.colormaps["viridis"]
    return [tuple(colours(0.88 * k / max(1, count - 1))) for k in range(count)]  # type: ignore[misc]
