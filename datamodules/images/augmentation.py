"""Random changes of training images, drawn for each sample from (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datamodules.images.resized import fitted, in_unit_range, jointly, resized
from datamodules.loading.seeding import uniforms

NEAR_THE_MIDDLE = 0.3  # share of the free room on each side that a crop's middle may use: labels speak of the middle


class Augmentation:
    """Base: changes nothing. Override `one` to work on single images of any size, `many` to work on whole batches.

    A data module calls `one` for each image file, then `many` for the batch. Images in memory all have one size, so
    they go straight to `many` (before they are enlarged for the backbone) unless `one` is overridden.
    """

    def one(self, image: Tensor, image_size: int) -> Tensor:
        """An image [channels, height, width] to [channels, image_size, image_size], uint8 or floats in 0…1 as it came.

        The global generators of torch, NumPy and Python have been seeded for this sample and epoch.
        """
        return resized(image, image_size)

    def many(self, images: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """Images [batch, channels, height, width], uint8 or floats in 0…1, to the same shape as floats in 0…1.

        Args:
            images: all of one height and width.
            keys: [batch], one random number for each sample and epoch: the only source of randomness allowed here, so
                that a sample looks the same in whatever batch it comes.
        """
        return in_unit_range(images)

    def one_with_mask(self, image: Tensor, mask: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
        """As `one`, for an image [channels, height, width] whose pixels have classes; override it where `one` is.

        Args:
            image: uint8, or floats in 0…1.
            mask: [height, width] class numbers, int64, `IGNORED` where not known.
            image_size: of the results in pixels.

        Returns:
            both, moved alike; classes are never mixed, and what comes from outside the image is `IGNORED`.
        """
        return fitted(image, mask, image_size)

    def many_masks(self, masks: Tensor, keys: NDArray[np.uint64], channels: int) -> Tensor:
        """What `many` does to places, for masks [batch, height, width]; override it where `many` is.

        Args:
            masks: class numbers, int64, `IGNORED` where not known.
            keys: as of `many`, from which the same is drawn.
            channels: of the images.
        """
        return masks

    def check_moves_masks(self) -> None:
        """Refuse a class that says nothing of masks: images would move, and their labels stay.

        Raises:
            ValueError: naming what it must override.
        """
        kinds = type(self).__mro__
        for method, of_masks in (("one", "one_with_mask"), ("many", "many_masks")):
            changed, told = (
                next(k for k, kind in enumerate(kinds) if name in vars(kind)) for name in (method, of_masks)
            )
            if changed < told:  # what moves images is newer than what moves masks
                raise ValueError(
                    f"{kinds[0].__name__} does not say how it moves masks: override {of_masks}, or use "
                    "datamodules.OverheadAugmentation, datamodules.ImageAugmentation or a torchvision v2 transform"
                )


class PerImage(Augmentation):
    """Any function of one image, such as a torchvision v2 transform, applied after the resize.

    Args:
        transform: [channels, image_size, image_size] uint8, or floats in 0…1 where files have more than 8 bits, to the
            same shape and type.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        self.transform = transform

    def one(self, image: Tensor, image_size: int) -> Tensor:
        """See `Augmentation`."""
        return self.transform(resized(image, image_size))

    def one_with_mask(self, image: Tensor, mask: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
        """See `Augmentation`; the transform is handed both, as those of torchvision v2 take them."""
        return jointly(self.transform, *fitted(image, mask, image_size))


class OverheadAugmentation(Augmentation):
    """For images seen from above, where no direction is up: flips, quarter turns, small shifts and colour changes.

    All of a batch is done at once; what a sample gets depends on its key alone.

    Args:
        flips: mirror left-right and top-bottom, each with probability one half.
        quarter_turns: turn by 0, 90, 180 or 270 degrees; needs square images.
        shift: largest shift along each axis, as a share of the image's side; the edge is filled by reflection.
        brightness: the image is multiplied by 1 ± this at most.
        contrast: differences from the image's mean are multiplied by 1 ± this at most.
        colour: each channel is multiplied by 1 ± this at most.
        smallest_crop: keep a square of this share of the image's side at least, turned by any angle and near the
            middle, and enlarge it to the whole (bilinear; what lies outside is filled by reflection). 1 crops nothing.
    """

    def __init__(
        self,
        flips: bool = True,
        quarter_turns: bool = True,
        shift: float = 0.1,
        brightness: float = 0.1,
        contrast: float = 0.1,
        colour: float = 0.05,
        smallest_crop: float = 1.0,
    ) -> None:
        if not 0 <= shift < 0.5:
            raise ValueError(f"shift must be in [0, 0.5) of the image's side, got {shift}")
        for name, value in (("brightness", brightness), ("contrast", contrast), ("colour", colour)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be in [0, 1), got {value}")
        if not 0 < smallest_crop <= 1:
            raise ValueError(f"smallest_crop must be in (0, 1] of the image's side, got {smallest_crop}")
        self.flips, self.quarter_turns, self.shift, self.smallest_crop = flips, quarter_turns, shift, smallest_crop
        self.brightness, self.contrast, self.colour = brightness, contrast, colour

    def many(self, images: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """See `Augmentation`."""
        channels = images.shape[1]
        draws = uniforms(keys, 11 + channels)
        changed = self._coloured(self._moved(images, draws[:, :5]), draws[:, 5 : 7 + channels])
        return changed if self.smallest_crop == 1 else self._cropped(changed, draws[:, 7 + channels :])

    def many_masks(self, masks: Tensor, keys: NDArray[np.uint64], channels: int) -> Tensor:
        """See `Augmentation`."""
        draws = uniforms(keys, 11 + channels)
        moved = self._moved(masks[:, None], draws[:, :5])
        if self.smallest_crop < 1:
            moved = self._cropped(moved.float(), draws[:, 7 + channels :], "nearest").to(masks.dtype)
        return moved[:, 0]

    def _moved(self, images: Tensor, draws: NDArray[np.float32]) -> Tensor:
        """Flips, turns and shifts as one gather; draws: [batch, 5]."""
        batch, channels, height, width = images.shape
        if self.quarter_turns and height != width:
            raise ValueError(f"quarter_turns needs square images, got {height} x {width}; set quarter_turns to false")
        turn = (draws[:, 4] * 4).astype(np.int64) if self.quarter_turns else np.zeros(batch, np.int64)
        # A turn by 90 degrees is a transposition and a flip of the rows, one by 180 flips rows and columns.
        flip_rows = ((draws[:, 0] < 0.5) & self.flips) ^ ((turn == 1) | (turn == 2))
        flip_columns = ((draws[:, 1] < 0.5) & self.flips) ^ ((turn == 2) | (turn == 3))
        rows = self._places(height, flip_rows, draws[:, 2])
        columns = self._places(width, flip_columns, draws[:, 3])
        places = rows[:, :, None] * width + columns[:, None, :]  # [batch, height, width]
        if self.quarter_turns:
            transposed = (turn % 2 == 1)[:, None, None]
            places = np.where(transposed, places.transpose(0, 2, 1), places)
        index = torch.from_numpy(places).view(batch, 1, -1).expand(-1, channels, -1)
        return images.reshape(batch, channels, -1).gather(2, index).view(images.shape)

    def _places(self, size: int, flipped: NDArray[np.bool_], draws: NDArray[np.float32]) -> NDArray[np.int64]:
        """Where each row (or column) of the result is read: [batch, size]."""
        reach = int(self.shift * size)
        offset = (draws * (2 * reach + 1)).astype(np.int64) - reach
        at = np.where(flipped[:, None], size - 1 - np.arange(size), np.arange(size)) + offset[:, None]
        at = np.abs(at)
        return np.where(at >= size, 2 * (size - 1) - at, at)

    def _coloured(self, images: Tensor, draws: NDArray[np.float32]) -> Tensor:
        """One multiplication and one addition per pixel; images: uint8 or in 0…1, draws: [batch, 2 + channels]."""
        change = torch.from_numpy(draws * 2 - 1)
        brightness, contrast = 1 + self.brightness * change[:, 0], 1 + self.contrast * change[:, 1]
        gain = brightness[:, None] * (1 + self.colour * change[:, 2:])  # [batch, channels]
        # Integer sums are exact in any order: a float mean could depend on how a batch is split over threads.
        pixels = images[0].numel()
        top = 1 if images.is_floating_point() else 255
        whole = (images * 65535).round() if top == 1 else images
        mean = whole.flatten(1).sum(1, dtype=torch.int64).float() / ((65535 if top == 1 else 255) * pixels)
        factor = (gain * contrast[:, None])[:, :, None, None] / top
        offset = (gain * ((1 - contrast) * mean)[:, None])[:, :, None, None]
        return images.float().mul_(factor).add_(offset).clamp_(0, 1)

    def _cropped(self, images: Tensor, draws: NDArray[np.float32], mode: str = "bilinear") -> Tensor:
        """One affine map for each image, in coordinates from -1 to 1; draws: [batch, 4]."""
        if images.shape[2] != images.shape[3]:
            raise ValueError(f"smallest_crop below 1 needs square images, got {images.shape[2]} x {images.shape[3]}")
        draw = torch.from_numpy(draws)
        side = self.smallest_crop + (1 - self.smallest_crop) * draw[:, 0]
        angle = 2 * torch.pi * draw[:, 1]
        across, down = side * angle.cos(), side * angle.sin()
        middle = (2 * draw[:, 2:] - 1) * (NEAR_THE_MIDDLE * (1 - side))[:, None]
        maps = torch.stack([torch.stack([across, -down], 1), torch.stack([down, across], 1), middle], 2)
        places = F.affine_grid(maps, list(images.shape), align_corners=False)
        return F.grid_sample(images, places, mode, padding_mode="reflection", align_corners=False)
