"""What a study's report says of the source ability: a section, a picture, a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lightning_tl.choosing.study.plan import StudyPlan, labels_text
from lightning_tl.choosing.study.report_text import Section
from lightning_tl.choosing.study.source import Source
from lightning_tl.choosing.study.source_left import SourceLeft
from lightning_tl.metrics.block_bootstrap import BootstrapInterval
from lightning_tl.reports.pictures.picture_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, picture

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY, INK)
TITLE = "What is left of the source"


def source_sections(plan: StudyPlan, source: Source, found: Sequence[SourceLeft], out: Path) -> list[Section]:
    """Two sections, and their picture and table beside the report; empty ones where nothing was measured.

    Args:
        plan: of the study.
        source: the samples.
        found: what each arm left.
        out: the report's folder.
    """
    measured = [left for left in found if left.measured]
    head = ["labels", "strategy", "pretrained", "adapted", "change", "verdict"]
    rows = [_row(left) for left in found if not left.unchanged]
    sentences = _sentences(plan, source, found)
    if not measured:
        return [Section(TITLE, sentences, head, rows)]
    draw_source(measured, plan.unit, out / "source.png")
    pd.DataFrame(_table(measured)).to_parquet(out / "source.parquet")
    return [Section(TITLE, sentences, head, rows, "source.png"), _layers(plan, measured)]


def _sentences(plan: StudyPlan, source: Source, found: Sequence[SourceLeft]) -> list[str]:
    measured, kept = [left for left in found if left.measured], [left for left in found if left.unchanged]
    told = []
    if measured:
        first = measured[0]
        blocks = first.interval("change").blocks
        of_blocks = f" in {blocks:,} blocks" if blocks != first.found["samples"] else ""
        told.append(
            f"{first.found['measure'].capitalize()} of an exact linear head on the features of "
            f"{first.found['samples']:,} samples of {source.place}{of_blocks}, with the pretrained and with the "
            "adapted weights, of each strategy's first draw at its chosen rate. Brackets are 95% intervals over these "
            "samples, each for itself; the change is in pairs."
        )
    if kept:
        told.append(f"Left every weight of the backbone as it was, and all that it knew: {_listed(kept)}.")
    fresh = [arm.name for arm in plan.arms if not arm.pretrained]
    if fresh and found:
        told.append(f"Began without pretrained weights and had nothing to forget: {', '.join(fresh)}.")
    return told


def _listed(found: Sequence[SourceLeft]) -> str:
    return ", ".join(dict.fromkeys(left.arm for left in found))


def _row(left: SourceLeft) -> list[str]:
    about = [labels_text(left.labels), left.arm]
    if left.error is not None:
        return [*about, "", "", "", f"failed: {left.error}"]
    change = left.interval("change")
    verdict = "no change shown" if not change.excludes_zero() else "forgot" if change.mean < 0 else "became better"
    before, after = _text(left.interval("before")), _text(left.interval("after"))
    return [*about, before, after, _text(change, "+.3f"), verdict]


def _text(interval: BootstrapInterval, form: str = ".3f") -> str:
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _layers(plan: StudyPlan, measured: Sequence[SourceLeft]) -> Section:
    """How alike layers are, of all arms with the most labels."""
    last = [left for left in measured if left.labels == measured[-1].labels]
    names = list(dict.fromkeys(name for left in last for name in left.alignment))
    rows = [[name, *(_number(left.alignment.get(name, np.nan)) for left in last)] for name in names]
    sentence = (
        "Centred kernel alignment of pretrained and adapted features by layer, from input to output, with "
        f"{labels_text(measured[-1].labels)} {plan.unit}: 1 where a layer is the same but for a turn and a scale."
    )
    return Section("How alike the layers are", [sentence], ["layer", *(left.arm for left in last)], rows)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _table(measured: Sequence[SourceLeft]) -> list[dict[str, object]]:
    rows = []
    for left in measured:
        row: dict[str, object] = {"arm": left.arm, "labels": labels_text(left.labels)}
        for name in ("before", "after", "change"):
            interval = left.interval(name)
            row |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row | {f"alignment/{layer}": value for layer, value in left.alignment.items()})
    return rows


def draw_source(measured: Sequence[SourceLeft], unit: str, path: Path) -> None:
    """The change by arm and number of labels with its interval, and beside it alignment by layer with the most labels.

    Args:
        measured: what arms left, few labels first.
        unit: of the numbers of labels.
        path: of the PNG file.
    """
    arms = list(dict.fromkeys(left.arm for left in measured))
    look = {arm: _COLOURS[k % len(_COLOURS)] for k, arm in enumerate(arms)}
    sizes = list(dict.fromkeys(left.labels for left in measured))
    with picture(path, 8.6, 3.6) as figure:
        axes, layers = figure.subplots(1, 2)
        for left in measured:
            change = left.interval("change")
            place = sizes.index(left.labels) + 0.1 * (arms.index(left.arm) - (len(arms) - 1) / 2)
            ends = [[change.mean - change.low], [change.high - change.mean]]
            label = left.arm if left.labels == next(m.labels for m in measured if m.arm == left.arm) else None
            axes.errorbar([place], [change.mean], yerr=ends, fmt="o", capsize=3, color=look[left.arm], label=label)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xticks(range(len(sizes)), [labels_text(size) for size in sizes])
        axes.set_xlabel(unit)
        axes.set_ylabel(f"change of {measured[0].found['measure']}")
        axes.legend(fontsize=7)
        last = [left for left in measured if left.labels == sizes[-1]]
        names = list(dict.fromkeys(name for left in last for name in left.alignment))
        for left in last:
            heights = [left.alignment.get(name, np.nan) for name in names]
            layers.plot(range(len(names)), heights, marker="o", markersize=4, color=look[left.arm], label=left.arm)
        layers.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
        lowest = min((value for left in last for value in left.alignment.values() if value < 0), default=0.0)
        layers.set_ylim(lowest - 0.02, 1.02)
        layers.set_ylabel("alignment with the pretrained layer")
        layers.set_title(f"{labels_text(sizes[-1])} labels", fontsize=9)
