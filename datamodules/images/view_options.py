"""What a user says of views and local crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from datamodules.images.augmentation import Augmentation, PerImage
from datamodules.images.view_augmentation import ViewAugmentation
from datamodules.images.view_samples import View
from datamodules.loading.unused_options import check_has_effect

_MOST_VIEWS = 2


@dataclass(frozen=True)
class ViewOptions:
    """How many views and crops there are of an image, and of what kind.

    Args:
        views: 1 or 2.
        area: least and largest share of an image's area that a view covers.
        local_views: how many smaller crops.
        local_size: their height and width in pixels; None for half of a view's.
        local_area: least and largest share of an image's area that one covers.
        first: augmentation of the first view.
        second: of the second view.
        local: of local crops.

    Raises:
        ValueError: an option is out of its range, or has no effect.
    """

    views: int
    area: Sequence[float]
    local_views: int
    local_size: int | None
    local_area: Sequence[float]
    first: Augmentation
    second: Augmentation
    local: Augmentation

    def __post_init__(self) -> None:
        if not 1 <= self.views <= _MOST_VIEWS:
            raise ValueError(f"views must be 1 or 2, got {self.views}")
        if self.local_views < 0:
            raise ValueError(f"local_views must be at least 0, got {self.local_views}")
        if self.local_size is not None and self.local_size < 1:
            raise ValueError(f"local_size must be at least 1 pixel, got {self.local_size}")
        for name in ("area", "local_area"):
            ends = list(getattr(self, name))
            if len(ends) != 2 or not 0 < ends[0] <= ends[1] <= 1:
                raise ValueError(f"{name} must be a least and a largest share of the area in (0, 1], got {ends}")
        check_has_effect("local_size", self.local_size, None, "local_views", self.local_views or None)

    def local_side(self, image_size: int) -> int:
        """Side of local crops where views have this size, in pixels."""
        return max(1, image_size // 2) if self.local_size is None else self.local_size

    def made(self, image_size: int) -> tuple[list[View], list[View]]:
        """The views and the local crops of each image, where views have this size in pixels.

        Raises:
            ValueError: local crops would be larger than views.
        """
        size = self.local_side(image_size)
        if self.local_views and size > image_size:
            raise ValueError(f"local_size must be at most the {image_size} pixels of a view, got {size}")
        (low, high), (local_low, local_high) = self.area, self.local_area
        kinds = (self.first, self.second)[: self.views]
        views = [View(image_size, (float(low), float(high)), kind) for kind in kinds]
        return views, [View(size, (float(local_low), float(local_high)), self.local)] * self.local_views


def augmentations(
    views: int,
    first: Augmentation | nn.Module | None,
    second: Augmentation | nn.Module | None,
    local: Augmentation | nn.Module | None,
) -> tuple[Augmentation, Augmentation, Augmentation]:
    """Those of the first view, the second and local crops; what is not given is as of the first view.

    Args:
        views: of two, the usual first one changes colours too, of one it flips alone.
        first: an `Augmentation`, or a torchvision v2 transform; None for the usual.
        second: likewise.
        local: likewise.
    """
    usual = ViewAugmentation() if views > 1 else ViewAugmentation(jitter=0, grey=0, blur=0)
    one, two, small = (
        PerImage(each) if isinstance(each, nn.Module) else each for each in (first or usual, second, local)
    )
    assert one is not None
    return one, two or one, small or one
