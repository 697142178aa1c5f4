"""Which images a data set has, and where the pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.labelled.records import Records


@dataclass(frozen=True, kw_only=True)
class ImageRecords(Records):
    """Images with names, labels and splits; see `Records`.

    Args:
        paths: files to read; or
        images: [n, height, width, channels] uint8, all in memory.
    """

    paths: Sequence[Path] | None = None
    images: NDArray[np.uint8] | None = None

    def sizes(self) -> dict[str, int]:
        """Lengths that must all be the same."""
        pixels = self.paths if self.paths is not None else self.images
        extra = {} if pixels is None else {"paths" if self.paths is not None else "images": len(pixels)}
        return {**super().sizes(), **extra}
