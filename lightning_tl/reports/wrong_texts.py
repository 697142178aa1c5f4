"""wrong_texts.png: a sheet of the texts that a model got wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_tl.reports.mistakes import mistakes
from lightning_tl.reports.picture_style import GREY, INK, ORANGE, picture
from lightning_tl.reports.predictions import Predictions

_WIDTH, _LINES = 150, 3  # characters on a line, lines of a text
_INCHES = 0.155  # height of a line


def draw_wrong_texts(
    predictions: Predictions,
    class_names: Sequence[str],
    text: Callable[[int], str],
    ids: Callable[[Sequence[int]], Sequence[str]],
    path: Path,
    count: int = 24,
) -> int:
    """Draw the most confident mistakes with true and predicted class; no file is written when there are none.

    Args:
        predictions: one label a sample.
        class_names: in the order of the model's outputs.
        text: the sample of an index.
        ids: names of samples by index.
        path: of the PNG file.
        count: the most texts to draw.

    Returns:
        the number of texts drawn.
    """
    chosen, title = mistakes(predictions, class_names, ids, count)
    if not chosen:
        path.unlink(missing_ok=True)  # from an earlier test of the same run
        return 0
    bodies = [_wrapped(text(mistake.index)) for mistake in chosen]
    height = _INCHES * (3 + sum(len(body) + 2 for body in bodies))
    with picture(path, 10.5, height) as figure:
        figure.set_layout_engine("none")  # the one axes are the whole sheet
        axes = figure.add_axes((0.01, 0, 0.98, 1))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(height / _INCHES, 0)
        axes.text(0, 1.4, title, fontsize=11, fontweight="bold")
        line = 3.6
        for mistake, body in zip(chosen, bodies, strict=True):
            verdict = f"true: {mistake.truth}   predicted: {mistake.guess} {mistake.confidence:.0%}"
            axes.text(0, line, verdict, color=ORANGE, parse_math=False)
            axes.text(1, line, mistake.name, fontsize=7.5, color=GREY, ha="right", parse_math=False)
            for k, words in enumerate(body, start=1):
                axes.text(0, line + k, words, fontsize=8.5, color=INK, parse_math=False)
            line += len(body) + 2
    return len(chosen)


def _wrapped(text: str) -> list[str]:
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH)
    return lines if len(lines) <= _LINES else [*lines[: _LINES - 1], lines[_LINES - 1][: _WIDTH - 2] + " …"]
