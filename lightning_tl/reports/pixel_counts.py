"""`PixelCounts`: what a model's masks got right in a test, image by image, and its Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.metrics import mean_iou, pixel_scores
from lightning_tl.reports.predictions import class_metadata
from lightning_tl.storage.partial_file import fresh_file
from lightning_tl.tasks import PixelLabels


@dataclass(frozen=True)
class PixelCounts:
    """Counts of pixels, one table for each image, ordered by index.

    Args:
        index: [n] stable number of each image.
        confusion: [n, true, predicted] pixels.
    """

    index: NDArray[np.int64]
    confusion: NDArray[np.int64]

    @property
    def task(self) -> str:
        """What was learned."""
        return PixelLabels.name

    @classmethod
    def from_batches(cls, batches: Sequence[Mapping[str, NDArray[Any]]]) -> PixelCounts:
        """Join batches of all processes; an image that a sampler repeated to fill a batch counts once."""
        index, first = np.unique(np.concatenate([batch["index"] for batch in batches]), return_index=True)
        return cls(index, np.concatenate([batch["confusion"] for batch in batches])[first])

    def results(self, names: Sequence[str], blocks: NDArray[np.int64] | None) -> dict[str, Any]:
        """What a test reports, ready for JSON; see `pixel_scores`."""
        return pixel_scores(self.confusion, names, blocks)

    def of_images(self) -> NDArray[np.float64]:
        """Mean IoU of each image over the classes that it has or is said to have: [n]; no number without any."""
        return mean_iou(self.confusion)

    def write(
        self, path: Path, ids: Sequence[str], class_names: Sequence[str], blocks: NDArray[Any] | None = None
    ) -> None:
        """Write a Parquet file with columns id, miou, right, pixels, confusion and, in blocks, block.

        Args:
            path: of the file.
            ids: names of the images.
            class_names: in the order of the class numbers.
            blocks: [n] block of each image.
        """
        right = np.trace(self.confusion, axis1=1, axis2=2)
        columns: dict[str, Any] = {
            "id": pa.array(list(ids), pa.string()),
            "miou": pa.array(self.of_images()),
            "right": pa.array(right),
            "pixels": pa.array(self.confusion.sum((1, 2))),
            "confusion": pa.array(self.confusion.reshape(len(self.index), -1).tolist(), pa.list_(pa.int64())),
        }
        if blocks is not None:
            columns["block"] = pa.array(np.asarray(blocks))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.part")
        with fresh_file(partial) as file:
            pq.write_table(pa.table(columns).replace_schema_metadata(class_metadata(class_names)), file)
        partial.replace(path)
