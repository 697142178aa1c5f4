"""Batches of tokenised texts, padded to the longest of each."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.loading.orders import Indices
from datamodules.texts.text_tokens import Tokens
from lightning_tl.contracts.batches import ClassificationBatch, TextInputs


class TextSamples:
    """`Samples` of a text data module.

    Args:
        tokens: of all texts.
        targets: [n] or [n, classes], looked up by index.
        padding: number of the padding token.
        segments: whether batches hold `token_type_ids`.
    """

    def __init__(self, tokens: Tokens, targets: Tensor, padding: int, segments: bool) -> None:
        self.tokens, self.targets, self.padding, self.segments = tokens, targets, padding, segments

    def fetch(self, indices: Indices, epoch: int) -> ClassificationBatch:
        """Token numbers [batch, longest], target, index [batch]."""
        lengths = self.tokens.lengths[indices]
        mask = np.arange(lengths.max()) < lengths[:, None]  # [batch, longest]
        ids, *segments = self.tokens.read(indices, "input_ids", *(["token_type_ids"] if self.segments else []))
        inputs: TextInputs = {
            "input_ids": _padded(ids, mask, self.padding),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }
        if segments:
            inputs["token_type_ids"] = _padded(segments[0], mask, 0)
        index = torch.from_numpy(indices)
        return {"inputs": inputs, "target": self.targets[index], "index": index}


def _padded(values: NDArray[np.int64], mask: NDArray[np.bool_], fill: int) -> Tensor:
    rows = np.full(mask.shape, fill, np.int64)
    rows[mask] = values  # row by row, as the mask is filled
    return torch.from_numpy(rows)
