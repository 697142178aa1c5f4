"""wrong_texts.png: a sheet of the texts that a model got wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_tl.reports.display_text import before_more, short_name, short_names, wrapped
from lightning_tl.reports.mistakes import Mistake
from lightning_tl.reports.pictures.mistakes_sheet import draw_mistakes
from lightning_tl.reports.pictures.picture_style import GREY, INK, ORANGE, picture
from lightning_tl.reports.predictions import Predictions

_WIDTH, _LINES = 150, 3  # cells on a line, lines of a text
_CLASS, _NAME = 32, 40  # cells of a class name and of a sample's
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

    def draw(chosen: list[Mistake], title: str) -> None:
        bodies = [wrapped(text(mistake.index), _WIDTH, _LINES) for mistake in chosen]
        short = dict(zip(class_names, short_names(class_names, _CLASS), strict=True))
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
                truth, guess = (before_more(short[name]) for name in (mistake.truth, mistake.guess))
                verdict = f"true: {truth}   predicted: {guess} {mistake.confidence:.0%}"
                axes.text(0, line, verdict, color=ORANGE)
                axes.text(1, line, short_name(mistake.name, _NAME), fontsize=7.5, color=GREY, ha="right")
                for k, words in enumerate(body, start=1):
                    axes.text(0, line + k, words, fontsize=8.5, color=INK)
                line += len(body) + 2

    return draw_mistakes(predictions, class_names, ids, path, count, draw)
