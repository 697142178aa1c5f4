"""`DiceLoss`: how far predicted and true regions are from covering each other."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_tl.contracts.batches import IGNORED
from lightning_tl.losses.pixel_cross_entropy import PixelCrossEntropy


class DiceLoss(nn.Module):
    """1 less the soft Dice coefficient, mean over the classes that occur in a batch.

    As Milletari, Navab and Ahmadi (2016, section 3), with a probability and its label in place of their squares. The
    sums go over all known pixels of the batch, so that a small region does not count as much as a large one of another
    image; a class without a true pixel in the batch is left out.

    Args:
        smooth: added to both sides of the fraction, in pixels; above 0.
    """

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        if not smooth > 0:
            raise ValueError(f"smooth must be above 0 pixels, got {smooth}")
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits [batch, classes, height, width] and class numbers [batch, height, width] to a scalar."""
        known = (target != IGNORED).unsqueeze(1)  # [batch, 1, height, width]
        given = logits.float().softmax(1) * known
        true = given.new_zeros(given.shape).scatter_(1, target.clamp_min(0).unsqueeze(1), 1.0) * known
        over = (0, 2, 3)
        pixels = true.sum(over)  # [classes]
        dice = (2 * (given * true).sum(over) + self.smooth) / (given.sum(over) + pixels + self.smooth)
        there = (pixels > 0).to(dice.dtype)
        return ((1 - dice) * there).sum() / there.sum().clamp_min(1)


class CrossEntropyAndDice(nn.Module):
    """The sum of the two: cross-entropy for single pixels, Dice for regions and rare classes.

    Args:
        dice: factor of the Dice loss, at least 0.
        smooth: as of `DiceLoss`.
    """

    def __init__(self, dice: float = 1.0, smooth: float = 1.0) -> None:
        super().__init__()
        if not dice >= 0:
            raise ValueError(f"dice must be at least 0, got {dice}")
        self.arguments = {"dice": dice, "smooth": smooth}
        self.factor, self.entropy, self.dice = dice, PixelCrossEntropy(), DiceLoss(smooth)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits [batch, classes, height, width] and class numbers [batch, height, width] to a scalar."""
        total: Tensor = self.entropy(logits, target) + self.factor * self.dice(logits, target)
        return total
