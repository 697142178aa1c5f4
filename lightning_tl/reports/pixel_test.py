"""What a test of masks leaves in a run folder: counts of each image, confusion, and a sheet of masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_tl.contracts.data import ShownImages
from lightning_tl.contracts.mask_legend import MaskedSamples
from lightning_tl.reports.mask_writer import mask_name
from lightning_tl.reports.pictures.confusion_picture import draw_confusion
from lightning_tl.reports.pictures.mask_sheet import MaskRow, draw_masks, rows_to_show
from lightning_tl.reports.pictures.run_pictures import draw_in_run
from lightning_tl.reports.pixel_counts import PixelCounts

TEST_MASKS = Path("predictions") / "test_masks"
_MOST_ROWS = 8


def draw_pixel_test(
    counts: PixelCounts,
    class_names: Sequence[str],
    data: object,
    ids: Callable[[Sequence[int]], Sequence[str]],
    run: Path,
    most: int,
) -> None:
    """Draw `confusion_matrix.png` of pixels and `masks.png`.

    Args:
        counts: of the test.
        class_names: in the order of the model's outputs.
        data: the data module.
        ids: names of images by index.
        run: the folder that has the pictures and the predicted masks.
        most: images to show.
    """
    pictures = run / "pictures"
    total = counts.confusion.sum(0)
    draw_in_run(pictures / "confusion_matrix.png", partial(draw_confusion, total, class_names, noun="pixels"))
    if isinstance(data, MaskedSamples) and isinstance(data, ShownImages):
        rows = partial(_rows, counts, data, ids, run / TEST_MASKS, min(most, _MOST_ROWS))
        draw_in_run(pictures / "masks.png", partial(draw_masks, rows, data.legend))


def _rows(
    counts: PixelCounts, data: MaskedSamples, ids: Callable[[Sequence[int]], Sequence[str]], masks: Path, most: int
) -> list[MaskRow]:
    scores, found = counts.of_images(), []
    for row in rows_to_show(scores, most):
        index = int(counts.index[row])
        name = ids([index])[0]
        file = masks / mask_name(name, data.image_path(index))
        if not file.is_file():
            continue  # written by a process on another machine
        with Image.open(file) as stored:
            predicted = data.legend.classes(np.asarray(stored))
        image: NDArray[np.uint8] = data.image(index)  # type: ignore[attr-defined]
        found.append(MaskRow(name, float(scores[row]), image, data.mask(index), predicted))
    return found
