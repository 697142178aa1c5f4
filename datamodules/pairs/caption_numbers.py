"""Which captions say the same, so that none of them is taken for a wrong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.labelled.equal_samples import text_key


@dataclass(frozen=True)
class CaptionNumbers:
    """The captions of all images in one list.

    Args:
        texts: different ones, as they are tokenised.
        row: [captions] which of them each caption is, one after the other, image by image.
        starts: [images + 1] where those of each image begin.
        number: [captions] of each; those that differ by case and spacing alone share one.
        known: [images, most] the numbers of an image's captions, -1 after the last.
    """

    texts: list[str]
    row: NDArray[np.int64]
    starts: NDArray[np.int64]
    number: Tensor
    known: Tensor

    @classmethod
    def of(
        cls, captions: Sequence[tuple[str, ...]], texts: list[str], read_as: Mapping[int, str] | None = None
    ) -> CaptionNumbers:
        """Number the captions of images.

        Args:
            captions: of each image.
            texts: different ones, all captions among them.
            read_as: what is left of texts that are cut, by their place in `texts`: of two long ones that begin alike, a
                model reads the same.
        """
        cut = read_as or {}
        seen: dict[str, int] = {}
        of_text = [seen.setdefault(cut.get(k) or text_key([text]), len(seen)) for k, text in enumerate(texts)]
        place = {text: k for k, text in enumerate(texts)}
        row = np.array([place[text] for said in captions for text in said], dtype=np.int64)
        counts = np.array([len(said) for said in captions], dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        number = np.array(of_text, dtype=np.int64)[row]
        known = np.full((len(captions), int(counts.max(initial=1))), -1, dtype=np.int64)
        images = np.repeat(np.arange(len(captions)), counts)
        known[images, np.arange(len(row)) - np.repeat(starts[:-1], counts)] = number
        return cls(texts, row, starts, torch.from_numpy(number), torch.from_numpy(known))
