"""`ImageIoU`: how well the mask of each image is found."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pandas as pd

from lightning_tl.choosing.study.measures.measure import Measure
from lightning_tl.reports.against import PREDICTIONS, image_scores


class ImageIoU(Measure):
    """Mean IoU of each image, over the classes that it has or is said to have.

    The mean over images can be paired image by image, as the mean IoU of all pixels at once cannot; it gives small
    regions more weight.
    """

    column = "image_miou"
    noun: ClassVar[str] = "test images"
    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    @property
    def text(self) -> str:
        """See `Measure`."""
        return "Mean over test images of each one's mean IoU"

    def samples(self, run: Path) -> pd.DataFrame:
        """See `Measure`."""
        found = image_scores(run / PREDICTIONS)
        if found is None:
            raise ValueError(f"{run / PREDICTIONS} has no scores of masks")
        return found.rename(columns={"right": "value"})
