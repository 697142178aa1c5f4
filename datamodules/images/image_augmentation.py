"""The training crops and colour changes that vision transformers are usually fine-tuned with."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms import v2

from datamodules.images.augmentation import Augmentation
from datamodules.images.resized import jointly, nearest, squared


class ImageAugmentation(Augmentation):
    """Random resized crop, flips and colour jitter on single images (torchvision v2), for photographs of any size.

    Args:
        smallest_crop: share of the image's area that a crop covers at least, in (0, 1].
        aspect_ratio: a crop's width is between its height divided by this and its height times this; at least 1.
        horizontal_flip: probability.
        vertical_flip: probability; for images without an up and down.
        brightness: as torchvision's `ColorJitter`, and so are the next two.
    """

    def __init__(
        self,
        smallest_crop: float = 0.35,
        aspect_ratio: float = 4 / 3,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
    ) -> None:
        if not 0 < smallest_crop <= 1:
            raise ValueError(f"smallest_crop must be in (0, 1], got {smallest_crop}")
        if not aspect_ratio >= 1:
            raise ValueError(f"aspect_ratio must be at least 1, got {aspect_ratio}")
        for name, value in (("horizontal_flip", horizontal_flip), ("vertical_flip", vertical_flip)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability in [0, 1], got {value}")
        self.smallest_crop, self.aspect_ratio = smallest_crop, aspect_ratio
        self.flips = v2.Compose([v2.RandomHorizontalFlip(horizontal_flip), v2.RandomVerticalFlip(vertical_flip)])
        self.jitter = v2.ColorJitter(brightness, contrast, saturation)

    def one(self, image: Tensor, image_size: int) -> Tensor:
        """See `Augmentation`."""
        image = self.flips(self._crop(image_size)(image))
        if image.shape[0] in (1, 3):  # torchvision changes the colours of grey and RGB images only
            image = self.jitter(image)
        return image

    def one_with_mask(self, image: Tensor, mask: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
        """See `Augmentation`; colours change as `one` changes them, in the image alone."""
        image, mask = squared(image, mask)
        crop = self._crop(image_size)
        place = crop.make_params([image])
        top, left = place["top"], place["left"]
        mask = nearest(mask[top : top + place["height"], left : left + place["width"]], (image_size, image_size))
        image, mask = jointly(self.flips, crop.transform(image, place), mask)
        return (self.jitter(image) if image.shape[0] in (1, 3) else image), mask

    def _crop(self, image_size: int) -> v2.RandomResizedCrop:
        return v2.RandomResizedCrop(
            image_size,
            scale=(self.smallest_crop, 1.0),
            ratio=(1 / self.aspect_ratio, self.aspect_ratio),
            interpolation=v2.InterpolationMode.BICUBIC,
            antialias=True,
        )
