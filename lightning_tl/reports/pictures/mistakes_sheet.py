"""A sheet of the samples that a model got wrong, whatever a sample looks like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_tl.reports.mistakes import Mistake, mistakes
from lightning_tl.reports.predictions import Predictions


def draw_mistakes(
    predictions: Predictions,
    class_names: Sequence[str],
    ids: Callable[[Sequence[int]], Sequence[str]],
    path: Path,
    count: int,
    draw: Callable[[list[Mistake], str], None],
) -> int:
    """Draw the most confident mistakes; no file is left where there are none.

    Args:
        predictions: one label a sample.
        class_names: in the order of the model's outputs.
        ids: names of samples by index.
        path: of the PNG file.
        count: the most to draw.
        draw: called with the mistakes and the sheet's title, writes the file.

    Returns:
        the number of mistakes drawn.
    """
    chosen, title = mistakes(predictions, class_names, ids, count)
    if chosen:
        draw(chosen, title)
    else:
        path.unlink(missing_ok=True)  # from an earlier test of the same run
    return len(chosen)
