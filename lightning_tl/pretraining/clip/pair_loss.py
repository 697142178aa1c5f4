"""`PairLoss`: images find their captions among those of all processes, and captions their images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_tl.losses import Candidates, InfoNCE
from lightning_tl.training.gather_rows import RowCounts


def is_true(known: Tensor, caption: Tensor) -> Tensor:
    """Which captions are true of which images: [images, texts].

    Args:
        known: [images, most] numbers of an image's captions, -1 after the last.
        caption: [texts] numbers.
    """
    found = torch.zeros(len(known), len(caption), dtype=torch.bool, device=known.device)
    for column in known.T:  # one at a time: [images, texts, most] would be large
        found |= column[:, None] == caption
    return found


class PairLoss(nn.Module):
    """The symmetric cross-entropy of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3) over all processes' pairs.

    Deviation: a caption that is true of an image without being its partner in this batch, as an equal one, or another
    one of an image that comes twice, is left out of the image's row, and the image out of the caption's.

    Args:
        loss: of a row, with the temperature.
    """

    def __init__(self, loss: InfoNCE) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, images: Tensor, texts: Tensor, known: Tensor, caption: Tensor, rank: int = 0, ranks: int = 1
    ) -> Tensor:
        """The loss of this process, whose mean over processes is the mean over all pairs and both directions.

        Args:
            images: [pairs, dim], unit norm.
            texts: [pairs, dim], unit norm, the caption of each.
            known: [pairs, most] numbers of all captions of each image, -1 after the last.
            caption: [pairs] number of each text.
            rank: number of this process.
            ranks: number of processes.
        """
        counts = RowCounts.gathered(len(images), images.device, ranks, rank)
        all_known, all_captions = counts.gather(known), counts.gather(caption)
        own = counts.before + torch.arange(len(images), device=images.device)
        columns = Candidates(counts.gather(texts), own, None, lambda rows: is_true(known[rows], all_captions))
        lines = Candidates(counts.gather(images), own, None, lambda rows: is_true(all_known, caption[rows]).T)
        total = self.loss(images, columns, False).sum() + self.loss(texts, lines, False).sum()
        return total * (ranks / (2 * counts.total))  # type: ignore[no-any-return]
