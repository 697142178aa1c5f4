"""The phases of progressive unfreezing, drawn as a strip over a picture's time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from lightning_tl.reports.pictures.picture_style import GREY, INK, gradient


@dataclass(frozen=True)
class Phase:
    """A part of the run in which the same layer groups train.

    Args:
        start: optimizer step at which it begins.
        end: optimizer step at which it ends.
        thawed: groups that did not train before.
    """

    start: float
    end: float
    thawed: tuple[str, ...]


def phases(history: Sequence[Mapping[str, Any]], last_step: float) -> list[Phase]:
    """Phases from what `ProgressiveUnfreezing.history` kept: mappings with `step` and `groups`."""
    edges = [*(float(entry["step"]) for entry in history), last_step]
    before: set[str] = set()
    found = []
    for entry, start, end in zip(history, edges[:-1], edges[1:], strict=True):
        groups = [str(name) for name in entry["groups"]]
        found.append(Phase(start, max(start, end), tuple(name for name in groups if name not in before)))
        before |= set(groups)
    return found


def strip_height(found: Sequence[Phase], span: float, width: float) -> float:
    """Inches that the strip needs: more when names must stand upright.

    Args:
        found: the phases.
        span: width of the x axis in steps.
        width: of the picture in inches.
    """
    angles = [_label(phase, number, span, width)[1] for number, phase in enumerate(found)]
    return 0.8 if any(angles) else 0.26


def draw_strip(strip: Axes, below: Sequence[Axes], found: Sequence[Phase], span: float, width: float) -> None:
    """Draw one coloured field for each phase, named by what thaws, and a line through the axes below.

    Args:
        strip: a low axes that shares its x axis with `below`.
        below: the axes with the curves.
        found: the phases.
        span: width of the x axis in steps.
        width: of the picture in inches.
    """
    strip.set_axis_off()
    strip.set_ylim(0, 1)
    strip.set_title("What starts to train", fontsize=8.5, fontweight="normal", pad=3)
    for number, (phase, colour) in enumerate(zip(found, reversed(gradient(len(found))), strict=True)):
        strip.axvspan(phase.start, phase.end, color=colour, alpha=0.28, linewidth=0)
        for axes in below if number else ():
            axes.axvline(phase.start, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1.1)
        label, angle = _label(phase, number, span, width)
        middle = (phase.start + phase.end) / 2
        strip.text(middle, 0.5, label, rotation=angle, ha="center", va="center", fontsize=7.5, color=INK, clip_on=True)


def _label(phase: Phase, number: int, span: float, width: float) -> tuple[str, float]:
    """What to write into the field of a phase, and its angle."""
    room = (phase.end - phase.start) / max(span, 1) * 0.8 * width
    plus, thawed = "+ " if number else "", phase.thawed
    short = f"{plus}{len(thawed)} groups" if len(thawed) > 1 else f"{plus}{''.join(thawed)}"
    for text in (plus + ", ".join(thawed), short):
        if _width(text) < room:
            return text, 0
    if room > 0.14 and _width(short) < 0.85:
        return short, 90
    return (str(number + 1), 0) if room > 0.14 else ("", 0)


def _width(text: str) -> float:
    """Inches of a text of 7.5 points, with a margin."""
    return 0.062 * len(text) + 0.05
