"""curves.png: loss and validation metrics over a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from lightning_tl.reports.pictures.phases import draw_strip, phases, strip_height
from lightning_tl.reports.pictures.picture_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, picture, steps_axis

_WIDTH = 9.0  # inches
_FEW = 60  # points, which are drawn one by one: a line through one point is nothing


@dataclass(frozen=True)
class KeptCheckpoint:
    """The checkpoint that a run keeps as its best.

    Args:
        steps: optimizer steps that were taken when it was written.
        monitor: the metric that it was chosen by; None where there is none.
    """

    steps: int
    monitor: str | None


def draw_curves(
    metrics: pd.DataFrame, history: Sequence[Mapping[str, Any]], path: Path, kept: KeptCheckpoint | None = None
) -> None:
    """Training and validation loss above, validation metrics below, phases and the kept checkpoint marked.

    Args:
        metrics: the rows of metrics.csv.
        history: of `ProgressiveUnfreezing`; may be empty.
        path: of the PNG file.
        kept: what to mark; None for nothing.

    Raises:
        ValueError: when no loss was logged.
    """
    metrics = metrics.assign(step=metrics["step"] + 1)  # steps taken: a row of step 0 comes after the first
    metrics = metrics.replace([float("inf"), float("-inf")], float("nan")).dropna(axis=1, how="all")
    drawn = [name for name in metrics if str(name) == "val_loss" or str(name).startswith("train_loss")]
    if not drawn:
        raise ValueError("metrics.csv has neither train_loss nor val_loss")
    scores = [str(name) for name in metrics if str(name).startswith("val_") and name != "val_loss"]
    last = float(metrics["step"].max())
    found = phases(history, last)
    heights = ([strip_height(found, last, _WIDTH)] if found else []) + [3.0] + ([2.6] if scores else [])
    with picture(path, _WIDTH, sum(heights) + 1.0) as figure:
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
        axes: list[Axes] = list(grid[:, 0])
        panels = axes[1:] if found else axes
        if found:
            draw_strip(axes[0], panels, found, last, _WIDTH)
        _losses(panels[0], metrics)
        if scores:
            _scores(panels[1], metrics, scores)
        if kept is not None:
            _mark(panels, metrics, kept)
        for panel in panels:
            panel.legend(loc="best", ncols=4)
        steps_axis(panels[-1], last)
        panels[-1].set_xlabel(f"optimizer step{_epochs(metrics)}")


def _losses(axes: Axes, metrics: pd.DataFrame) -> None:
    axes.set_title("Loss")
    axes.set_ylabel("loss")
    if "train_loss_step" in metrics:
        noisy = metrics[["step", "train_loss_step"]].dropna()
        style: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "alpha": 0.55}
        marker = "." if len(noisy) <= _FEW else ""
        axes.plot(noisy["step"], noisy["train_loss_step"], **style, marker=marker, label="training, batch")
    for names, colour, label in (
        (("train_loss_epoch", "train_loss"), BLUE, "training"),
        (("val_loss",), ORANGE, "validation"),
    ):
        for name in names:
            if name in metrics:
                _line(axes, metrics, name, colour, label)
                break


def _scores(axes: Axes, metrics: pd.DataFrame, names: Sequence[str]) -> None:
    axes.set_title("Validation")
    axes.set_ylabel("score")
    for k, name in enumerate(sorted(names)):
        _line(axes, metrics, name, (GREEN, PURPLE, BLUE, ORANGE)[k % 4], _label(name))


def _mark(panels: Sequence[Axes], metrics: pd.DataFrame, kept: KeptCheckpoint) -> None:
    """A line at the step of the kept checkpoint, and what its validation said."""
    step = kept.steps
    for axes in panels:
        axes.axvline(step, color=INK, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1.2, label="kept checkpoint")
    said = []
    for name in dict.fromkeys((kept.monitor, "val_accuracy")):
        if name is None or name not in metrics:
            continue
        rows = metrics.loc[metrics["step"] <= step, ["step", name]].dropna()
        if len(rows):
            where, value = rows.iloc[-1]
            said.append(f"{_label(name)} {value:.3f}")
            on = panels[0] if name == "val_loss" or len(panels) == 1 else panels[-1]
            if name == kept.monitor and name.startswith("val_"):
                on.plot(where, value, "o", markersize=9, fillstyle="none", color=INK)
    panels[-1].set_title(f"{panels[-1].get_title(loc='left')} ({', '.join([f'kept: step {kept.steps:,}', *said])})")


def _label(name: str) -> str:
    return name.removeprefix("val_").replace("_", " ").replace("macro f1", "macro-F1")


def _line(axes: Axes, metrics: pd.DataFrame, name: str, colour: str, label: str) -> None:
    rows = metrics[["step", name]].dropna().drop_duplicates("step", keep="last")
    marker = "o" if len(rows) <= _FEW else ""
    axes.plot(rows["step"], rows[name], marker=marker, markersize=3.2, color=colour, label=label)


def _epochs(metrics: pd.DataFrame) -> str:
    """`; 40 epochs of 47 steps` when the rows tell."""
    if "epoch" not in metrics or metrics["epoch"].isna().all():
        return ""
    epochs = int(metrics["epoch"].max()) + 1
    steps = round(int(metrics["step"].max()) / epochs)
    return f"   ({epochs} {'epoch' if epochs == 1 else 'epochs'} of {steps} {'step' if steps == 1 else 'steps'})"
