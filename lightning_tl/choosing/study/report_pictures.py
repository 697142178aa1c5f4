"""The pictures of a study's report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.measures import Measure
from lightning_tl.choosing.study.plan import Cell, StudyPlan, labels_text
from lightning_tl.choosing.study.scores import Score
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.reports.pictures.picture_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, picture

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY, INK, "#b0413e", "#8a6d1f")
_MARKS = "osD^vPX*"


def _look(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and mark of each arm, the same in all pictures."""
    return {
        name: {"color": _COLOURS[k % len(_COLOURS)], "marker": _MARKS[k % len(_MARKS)]} for k, name in enumerate(names)
    }


def _plain_log(axes: Axes) -> None:
    """A logarithmic axis whose numbers are written out, few of them."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 30 * low else (1.0, 2.0, 5.0), numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:.2g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if high < 2.5 * low:
        middle = (low * high) ** 0.5
        axes.set_xlim(middle / 1.7, middle * 1.7)


def _arms(found: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(score.arm for score in found))


def draw_scores(found: Sequence[Score], unit: str, measure: Measure, path: Path) -> None:
    """Score against the number of labels, with intervals.

    Args:
        found: scores of the study.
        unit: what the numbers count; empty where nothing is counted.
        measure: what scores are.
        path: of the PNG file.
    """
    sizes = list(dict.fromkeys(score.labels for score in found))
    look = _look(_arms(found))
    with picture(path, 7.0, 4.2) as figure:
        axes = figure.add_subplot()
        for k, arm in enumerate(look):
            own = [score for score in found if score.arm == arm]
            places = [sizes.index(score.labels) + 0.06 * (k - len(look) / 2) for score in own]
            means = [score.quality.mean for score in own]
            ends = [
                [score.quality.mean - score.quality.low for score in own],
                [score.quality.high - score.quality.mean for score in own],
            ]
            axes.errorbar(places, means, yerr=ends, capsize=2, markersize=5, linewidth=1.2, label=arm, **look[arm])
        axes.set_xticks(range(len(sizes)), [labels_text(size) if unit else "" for size in sizes])
        axes.set_xlabel(unit)
        axes.set_ylabel(measure.axis)
        axes.legend(fontsize=8, ncols=2)


def draw_costs(found: Sequence[Score], unit: str, path: Path) -> None:
    """Score against four costs at the greatest number of labels; what is on the front has a ring.

    Args:
        found: scores of the study.
        unit: what numbers of labels count.
        path: of the PNG file.
    """
    size = found[-1].labels
    here = [score for score in found if score.labels == size]
    look = _look(_arms(found))
    costs: list[tuple[str, Any]] = [
        ("trained parameters", lambda score: max(score.trainable, 1)),
        ("training, seconds", lambda score: score.seconds),
        ("peak memory, MiB", lambda score: score.peak_bytes / 2**20),
        ("checkpoint, MiB", lambda score: score.checkpoint_bytes / 2**20),
    ]
    with picture(path, 8.0, 5.6) as figure:
        for number, (name, cost) in enumerate(costs, 1):
            axes = figure.add_subplot(2, 2, number)
            for score in here:
                if not cost(score):  # not noted
                    continue
                edge = INK if score.on_front else "none"
                axes.scatter(
                    cost(score),
                    score.quality.mean,
                    s=60,
                    edgecolors=edge,
                    linewidths=1.5,
                    label=score.arm,
                    **look[score.arm],
                )
            if axes.collections:
                _plain_log(axes)
            else:
                axes.set_xticks([])
            axes.set_xlabel(name if axes.collections else f"{name}: not noted")
            axes.set_ylabel("score" if number % 2 else "")
            if number == 1:
                axes.legend(fontsize=7)
        figure.suptitle(f"{labels_text(size)} {unit}" if unit else "", x=0.02, ha="left", fontsize=10)


def draw_curves(plan: StudyPlan, folder: StudyFolder, chosen: Chosen, monitor: str, path: Path) -> None:
    """The monitored validation metric by step of the chosen runs' first draw, a panel for each number of labels.

    Args:
        plan: of the study.
        folder: with its runs.
        chosen: what they came to.
        monitor: name of the metric.
        path: of the PNG file.
    """
    sizes = list(dict.fromkeys(size for _, size in plan.groups()))
    look = _look([arm.name for arm in plan.arms])
    with picture(path, max(4.0, 3.0 * len(sizes)), 3.2) as figure:
        for number, size in enumerate(sizes, 1):
            axes = figure.add_subplot(1, len(sizes), number)
            for arm in plan.arms:
                if (arm.name, size) not in chosen.rates:
                    continue
                outcome = folder.outcome(Cell(arm.name, size, 0, chosen.rates[arm.name, size]))
                if outcome is not None and outcome.curve:
                    steps, losses = zip(*outcome.curve, strict=True)
                    axes.plot(steps, losses, markersize=3, linewidth=1.2, label=arm.name, **look[arm.name])
            axes.set_title(f"{labels_text(size)} labels" if len(sizes) > 1 or size is not None else "", fontsize=9)
            axes.set_xlabel("step")
            axes.set_ylabel(monitor if number == 1 else "")
            if number == len(sizes) and axes.lines:
                axes.legend(fontsize=7)


def draw_searches(chosen: Chosen, monitor: str, path: Path) -> None:
    """The monitored validation metric by rate of each search, a panel for each number of labels.

    Args:
        chosen: with the searches.
        monitor: name of the metric.
        path: of the PNG file; none is written where nothing was searched.
    """
    sizes = list(dict.fromkeys(size for _, size in chosen.searches))
    look = _look(list(dict.fromkeys(arm for arm, _ in chosen.searches)))
    if not sizes:
        return
    with picture(path, max(4.0, 3.0 * len(sizes)), 3.2) as figure:
        for number, size in enumerate(sizes, 1):
            axes = figure.add_subplot(1, len(sizes), number)
            for (arm, own), losses in chosen.searches.items():
                if own == size:
                    axes.plot(list(losses), list(losses.values()), markersize=4, linewidth=1.2, label=arm, **look[arm])
            _plain_log(axes)
            axes.set_title(f"{labels_text(size)} labels" if len(sizes) > 1 or size is not None else "", fontsize=9)
            axes.set_xlabel("rate")
            axes.set_ylabel(monitor if number == 1 else "")
            if number == len(sizes):
                axes.legend(fontsize=7)
