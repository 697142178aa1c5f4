"""Batches of images with captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.images.image_samples import ImageSamples
from datamodules.loading.orders import Indices
from datamodules.loading.seeding import sample_keys
from datamodules.pairs.caption_numbers import CaptionNumbers
from datamodules.texts.text_samples import TextSamples
from lightning_tl.contracts.batches import CaptionedBatch


class CaptionedSamples:
    """`Samples` of pairs: of each image one caption, drawn anew in each epoch, or all.

    Args:
        images: reads them.
        texts: their tokens.
        captions: which of them belong to which image.
        seed: of the draw.
        every: give all captions of an image instead.
    """

    clean_workers = False  # whether workers must come from a process without the past of this one

    def __init__(
        self, images: ImageSamples, texts: TextSamples, captions: CaptionNumbers, seed: int, every: bool = False
    ) -> None:
        self.images, self.texts, self.captions, self.seed, self.every = images, texts, captions, seed, every

    def fetch(self, indices: Indices, epoch: int) -> CaptionedBatch:
        """The batch of these images; a sample's draw depends on (seed, epoch, index) alone."""
        starts = self.captions.starts
        first, count = starts[indices], starts[indices + 1] - starts[indices]
        if self.every:
            rows = np.repeat(np.arange(len(indices)), count)
            said = np.concatenate([np.arange(f, f + c) for f, c in zip(first, count, strict=True)])
        else:
            rows = np.arange(len(indices))
            said = first + self._drawn(indices, count, epoch)
        shown = self.images.fetch(indices, epoch)
        tokens: Any = self.texts.fetch(self.captions.row[said], epoch)["inputs"]
        return {
            "inputs": shown["inputs"],
            "captions": tokens,
            "image": torch.from_numpy(rows.astype(np.int64)),
            "caption": self.captions.number[torch.from_numpy(said)],
            "known": self.captions.known[torch.from_numpy(indices)],
            "index": torch.from_numpy(indices),
        }

    def _drawn(self, indices: Indices, count: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        keys = sample_keys(indices, self.seed, "caption", epoch)
        found: NDArray[np.int64] = (keys % count.astype(np.uint64)).astype(np.int64)
        return found
