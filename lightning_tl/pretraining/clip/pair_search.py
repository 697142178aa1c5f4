"""`PairSearch`: a whole split's captions searched by image, and its images by caption."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_tl.metrics.best_ranks import best_ranks
from lightning_tl.pretraining.clip.pair_loss import PairLoss, is_true
from lightning_tl.training.gather_rows import RowCounts, summed

DEPTHS = (1, 5, 10)
_AT_ONCE = 256  # queries that are ranked together


class PairSearch:
    """Collects the vectors of a split, a batch at a time, and ranks them when all are there.

    An image with several captions finds any of them; a caption that is said of several images finds any of these.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was collected."""
        self._parts: list[tuple[Tensor, ...]] = []

    def add(self, images: Tensor, texts: Tensor, image: Tensor, known: Tensor, caption: Tensor) -> None:
        """Take a batch.

        Args:
            images: [images, dim], unit norm.
            texts: [texts, dim], unit norm.
            image: [texts] the row of the image of each, in rising order.
            known: [images, most] numbers of an image's captions, -1 after the last.
            caption: [texts] number of each.
        """
        first = torch.searchsorted(image, torch.arange(len(images), device=image.device))
        self._parts.append((images, texts, known, caption, texts[first], caption[first]))

    def finish(self, loss: PairLoss, rank: int = 0, ranks: int = 1) -> dict[str, Tensor]:
        """`loss` of the images and the first caption of each, and both recalls at 1, 5 and 10, over all processes.

        Args:
            loss: as in training, over the whole split at once.
            rank: number of this process.
            ranks: number of processes.
        """
        images, texts, known, caption, first, first_caption = map(torch.cat, zip(*self._parts, strict=True))
        told = loss(images, first, known, first_caption, rank, ranks)
        found = {"loss": summed(told.clone(), ranks) / ranks}
        of_images, of_texts = (RowCounts.gathered(len(part), images.device, ranks, rank) for part in (images, texts))
        all_texts, all_captions = of_texts.gather(texts), of_texts.gather(caption)
        all_images, all_known = of_images.gather(images), of_images.gather(known)
        places = {
            "image_to_text": best_ranks(images, all_texts, lambda rows: is_true(known[rows], all_captions), _AT_ONCE),
            "text_to_image": best_ranks(texts, all_images, lambda rows: is_true(all_known, caption[rows]).T, _AT_ONCE),
        }
        for name, place in places.items():
            for depth in DEPTHS:
                hits = torch.stack([(place <= depth).sum(), torch.tensor(len(place), device=place.device)])
                right, total = summed(hits, ranks).tolist()
                found[f"{name}_recall_{depth}"] = torch.tensor(right / total, device=images.device)
        self.begin()
        return found
