"""learning_rates.png: the rate of each layer group over a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from lightning_tl.reports.pictures.phases import draw_strip, phases, strip_height
from lightning_tl.reports.pictures.picture_style import gradient, picture, steps_axis

_LEGEND_ROWS = 18
_WIDTH = 9.5  # inches


def draw_learning_rates(
    metrics: pd.DataFrame, groups: Sequence[str], history: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Rates on a logarithmic scale; a group is not drawn while it is frozen.

    Args:
        metrics: the rows of metrics.csv, with columns `lr/<group>`.
        groups: names of the layer groups from input to output; those without a column are left out.
        history: of `ProgressiveUnfreezing`; may be empty.
        path: of the PNG file.

    Raises:
        ValueError: when no rate above 0 was logged.
    """
    rates = {name: _rate(metrics, name, history) for name in groups if f"lr/{name}" in metrics}
    trained = {name: rate for name, rate in rates.items() if len(rate)}
    if not trained:
        raise ValueError("metrics.csv has no learning rate above 0 for any layer group")
    last = float(metrics["step"].max()) + 1
    found = phases(history, last)
    heights = ([strip_height(found, last, _WIDTH)] if found else []) + [4.0]
    with picture(path, _WIDTH, sum(heights) + 0.8) as figure:
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
        axes: Axes = grid[-1, 0]
        if found:
            draw_strip(grid[0, 0], [axes], found, last, _WIDTH)
        for (name, rate), colour in zip(trained.items(), gradient(len(trained)), strict=True):
            marker = "o" if len(rate) <= 3 else ""
            axes.plot(rate.index, rate, color=colour, linewidth=1.6, marker=marker, markersize=3, label=name)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # the default writes formulas
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        peaks = [rate.max() for rate in trained.values()]
        axes.set_ylim(bottom=max(min(peaks) / 300, 0.5 * min(rate.min() for rate in trained.values())))
        never = len(rates) - len(trained)
        note = f" ({never} {'group' if never == 1 else 'groups'} never trained)" if never else ""
        axes.set_title(f"Learning rate of each layer group{note}")
        axes.set_ylabel("learning rate")
        steps_axis(axes, last)
        handles, names = axes.get_legend_handles_labels()
        columns = -(-len(names) // _LEGEND_ROWS)
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
        axes.legend(handles[::-1], names[::-1], ncols=columns, fontsize=8.5, **place)  # output on top, as its rate is


def _rate(metrics: pd.DataFrame, name: str, history: Sequence[Mapping[str, Any]]) -> pd.Series[Any]:
    """The logged rates of a group by step, without those at which it was frozen."""
    rate = metrics[["step", f"lr/{name}"]].dropna().set_index("step")[f"lr/{name}"]
    trains = pd.Series(not history, index=rate.index)
    for entry in history:
        trains[rate.index >= float(entry["step"])] = name in entry["groups"]
    return rate[trains & (rate > 0)]
