"""slices.png: how often the right item was found, for each group of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightning_tl.reports.display_text import before_more, short_names
from lightning_tl.reports.pictures.picture_style import BLUE, GREY, INK, picture

_FEW = 30  # queries, of which a share says little
PALE = "#b9cfe4"


@dataclass(frozen=True)
class SliceBar:
    """One bar.

    Args:
        grouping: what the queries were grouped by.
        name: of the group.
        queries: how many.
        value: share of hits, in 0…1.
        low: lower end of its interval; None where there is none.
        high: upper end.
    """

    grouping: str
    name: str
    queries: int
    value: float
    low: float | None
    high: float | None


def draw_slices(bars: Sequence[SliceBar], overall: float, measure: str, path: Path) -> None:
    """A bar for each group with its interval, groupings one below the other, and a line at the mean of all queries.

    Args:
        bars: those of one grouping stand together.
        overall: of all queries.
        measure: what is measured.
        path: of the PNG file.
    """
    places, names, place = [], [], 0.0
    short = short_names([bar.name for bar in bars], 28)
    for number, bar in enumerate(bars):
        place += 1.0 if number == 0 or bars[number - 1].grouping == bar.grouping else 2.0
        places.append(place)
        names.append(f"{before_more(short[number])}  ({bar.queries:,})")
    with picture(path, 8.5, 1.6 + 0.26 * place) as figure:
        axes = figure.subplots()
        values = np.array([bar.value for bar in bars])
        colours = [PALE if bar.queries < _FEW else BLUE for bar in bars]
        axes.barh(places, values, color=colours, height=0.72)
        for where, bar in zip(places, bars, strict=True):
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [where, where], color=INK, linewidth=1.2)
        axes.axvline(overall, color=GREY, linewidth=1.2, linestyle="--")
        axes.set_yticks(places, names)
        for number, bar in enumerate(bars):
            if number == 0 or bars[number - 1].grouping != bar.grouping:
                axes.text(0, places[number] - 0.75, bar.grouping, fontweight="bold", fontsize=9, va="center")
        axes.set_ylim(place + 0.7, places[0] - 1.4)
        axes.grid(False, axis="y")
        axes.set_xlim(0, None)
        few = f"; pale: fewer than {_FEW} queries" if any(bar.queries < _FEW for bar in bars) else ""
        axes.set_xlabel(f"{measure}; lines: 95% intervals over users; dashed: all queries{few}")
        axes.set_title(f"{measure} by group of queries (number of queries)")
