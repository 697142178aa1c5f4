"""The changes by which self-supervised objectives tell what is in a photograph from how it was taken."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms import v2

from datamodules.images.augmentation import Augmentation
from datamodules.images.resized import resized

_COLOUR_CHANNELS = (1, 3)  # torchvision changes the colours of grey and RGB images only


class ViewAugmentation(Augmentation):
    """Flip, colour jitter, grey, blur and solarisation (torchvision v2), for views of photographs.

    Those of SimCLR (Chen et al. 2020, arXiv 2002.05709, appendix A) and BYOL (Grill et al. 2020, arXiv 2006.07733,
    appendix B); `UnlabelledImagesDataModule` does the cropping. Of images with other bands than grey or RGB only flip
    and blur are done.

    Args:
        horizontal_flip: probability.
        vertical_flip: probability; for images without an up and down.
        jitter: probability that brightness, contrast, saturation and hue change.
        strength: of the jitter: brightness and contrast by 0.4 times this at most, saturation by 0.2, hue by 0.1.
        grey: probability that an RGB image loses its colours.
        blur: probability of a Gaussian blur with a deviation of 0.1 to 2 pixels.
        solarise: probability that values above half are inverted.
    """

    def __init__(
        self,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        jitter: float = 0.8,
        strength: float = 1.0,
        grey: float = 0.2,
        blur: float = 0.5,
        solarise: float = 0.0,
    ) -> None:
        chances = {
            "horizontal_flip": horizontal_flip,
            "vertical_flip": vertical_flip,
            "jitter": jitter,
            "grey": grey,
            "blur": blur,
            "solarise": solarise,
        }
        for name, value in chances.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability in [0, 1], got {value}")
        if not 0 <= strength <= 2:
            raise ValueError(f"strength must be in [0, 2], got {strength}")
        self.flips = v2.Compose([v2.RandomHorizontalFlip(horizontal_flip), v2.RandomVerticalFlip(vertical_flip)])
        colours = v2.ColorJitter(0.4 * strength, 0.4 * strength, 0.2 * strength, 0.1 * strength)
        self.colours = v2.Compose([v2.RandomApply([colours], jitter), v2.RandomGrayscale(grey)])
        self.blur, self.solarise = blur, solarise

    def one(self, image: Tensor, image_size: int) -> Tensor:
        """See `Augmentation`."""
        image = self.flips(resized(image, image_size))
        coloured = image.shape[0] in _COLOUR_CHANNELS
        if coloured:
            image = self.colours(image)
        kernel = max(3, image_size // 10 | 1)  # a tenth of the side, and odd
        if image_size > kernel // 2:
            image = v2.RandomApply([v2.GaussianBlur(kernel, (0.1, 2.0))], self.blur)(image)
        if coloured:
            half = 0.5 if image.is_floating_point() else 128
            image = v2.RandomSolarize(half, self.solarise)(image)
        return image
