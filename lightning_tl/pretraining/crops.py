"""`Crops`: how many pieces of each image there are, and of what size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_tl.contracts.data import CroppedData

_VIEWS, _LOCAL = "[batch, views, channels, height, width]", "[batch, crops, channels, height, width]"


@dataclass(frozen=True)
class Crops:
    """What a batch holds of each image.

    Args:
        views: of the backbone's own size, at least 2.
        local: smaller ones, 0 for none.
        local_size: their side in pixels, 0 for none.
    """

    views: int
    local: int = 0
    local_size: int = 0

    def __str__(self) -> str:
        return f"{self.views} view{'s' if self.views > 1 else ''}" + (
            f" and {self.local} local crops of {self.local_size} pixels" if self.local else ""
        )

    @staticmethod
    def of_data(data: Any) -> Crops | None:
        """What a data module says of its batches; None where it does not, or not yet."""
        told = data.crops if isinstance(data, CroppedData) else None
        if told is None:
            return None
        views, local, side = told
        return Crops(views, local, side) if local else Crops(views)

    @staticmethod
    def of_batch(batch: Mapping[str, Any]) -> Crops:
        """What a batch holds.

        Raises:
            ValueError: it has another form, or fewer than two views.
        """
        views, local = batch["inputs"], batch.get("local")
        if views.ndim != 5:
            raise ValueError(f"inputs must be two or more views, {_VIEWS}, got {tuple(views.shape)}; set views: 2")
        if local is None or (local.ndim == 5 and local.shape[1] == 0):
            return Crops(views.shape[1])
        if local.ndim != 5 or local.shape[0] != views.shape[0] or local.shape[-1] != local.shape[-2]:
            raise ValueError(f"local must be square crops, {_LOCAL} of {len(views)} images, got {tuple(local.shape)}")
        return Crops(views.shape[1], local.shape[1], local.shape[-1])

    def check(self, image_size: int) -> None:
        """Refuse what an objective that compares crops cannot learn from.

        Args:
            image_size: side of the views in pixels.

        Raises:
            ValueError: fewer than two views, or local crops that are larger than the views.
        """
        if self.views < 2:
            raise ValueError(f"there must be at least two views of an image, got {self.views}: set views: 2")
        if self.local and self.local_size > image_size:
            raise ValueError(
                f"local crops of {self.local_size} pixels are larger than the images of {image_size}: lower local_size"
            )
