"""Which images a data set has, and where their masks are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.images.image_records import ImageRecords


@dataclass(frozen=True, kw_only=True)
class MaskRecords(ImageRecords):
    """Images with masks; `labels` [n, classes] say by 0 and 1 which classes are in a mask, -1 where there is none.

    Args:
        masks: files to read; None where there is none.
        pixels: [n, classes] how many pixels of each class a mask has.
        frames: height and width of a mask; None where there is none.
    """

    masks: Sequence[Path | None]
    pixels: NDArray[np.int64]
    frames: Sequence[tuple[int, int] | None]

    def sizes(self) -> dict[str, int]:
        """Lengths that must all be the same."""
        return {**super().sizes(), "masks": len(self.masks), "pixels": len(self.pixels), "frames": len(self.frames)}
