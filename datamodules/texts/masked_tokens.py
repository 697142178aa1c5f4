"""Tokens hidden at random, for a language model to restore."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.loading.orders import Indices
from datamodules.loading.seeding import sample_keys, uniforms
from lightning_tl.contracts.batches import UNMASKED, MaskedTextBatch, TextInputs

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the chosen tokens; the rest stay as they are
_CHANGED = MASKED_SHARE + RANDOM_SHARE


class Texts(Protocol):
    """Batches of tokenised texts, such as `TextSamples`."""

    def fetch(self, indices: Indices, epoch: int) -> Any:
        """A batch with `inputs`, a `TextInputs`."""
        ...


class MaskedTokens:
    """`Samples` whose tokens are masked as BERT's were (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

    Of each text's tokens that are not special, a share is chosen, at least one. Of the chosen, 80% become the mask
    token, 10% a random token that is not special, and 10% stay as they are. Which and how is a function of (seed,
    epoch, index), so a text is masked anew in every epoch (Liu et al. 2019, arXiv 1907.11692, section 4.1). Words the
    tokenizer does not know count as special: there is nothing to restore. A text of nothing but these has no labels.

    Args:
        texts: what is masked.
        tokenizer: of transformers; says which tokens are special.
        seed: of the choice.
        mask_rate: share of the tokens to choose, in (0, 1), rounded to the nearest number of tokens.

    Raises:
        ValueError: the tokenizer has no mask token, or no token that is not special.
    """

    def __init__(self, texts: Texts, tokenizer: Any, seed: int, mask_rate: float = 0.15) -> None:
        check_mask_rate(mask_rate)
        check_mask_token(tokenizer)
        self.texts, self.seed, self.mask_rate = texts, seed, mask_rate
        self.mask_token = int(tokenizer.mask_token_id)
        numbers = np.fromiter(tokenizer.get_vocab().values(), np.int64)
        self.ordinary: NDArray[np.int64] = np.setdiff1d(numbers, np.array(tokenizer.all_special_ids, np.int64))
        if len(self.ordinary) == 0:
            raise ValueError(
                f"all {len(numbers)} tokens of {tokenizer.name_or_path} are special; take another tokenizer"
            )
        self._is_ordinary = np.zeros(int(numbers.max()) + 1, bool)
        self._is_ordinary[self.ordinary] = True

    def fetch(self, indices: Indices, epoch: int) -> MaskedTextBatch:
        """The texts with some tokens masked, and what these were."""
        inputs: TextInputs = self.texts.fetch(indices, epoch)["inputs"]
        tokens = inputs["input_ids"].numpy()  # [batch, tokens]
        chosen = self.chosen(tokens, indices, epoch)
        width = tokens.shape[1]
        action = uniforms(sample_keys(indices, self.seed, "mask action", epoch), width)
        draw = uniforms(sample_keys(indices, self.seed, "mask token", epoch), width).astype(np.float64)
        other = self.ordinary[(draw * len(self.ordinary)).astype(np.int64)]
        hidden = np.where(action < MASKED_SHARE, self.mask_token, np.where(action < _CHANGED, other, tokens))
        return {
            "inputs": {**inputs, "input_ids": torch.from_numpy(np.where(chosen, hidden, tokens))},
            "labels": torch.from_numpy(np.where(chosen, tokens, UNMASKED)),
            "index": torch.from_numpy(indices),
        }

    def chosen(self, tokens: NDArray[np.int64], indices: Indices, epoch: int) -> NDArray[np.bool_]:
        """Which tokens are to be restored: [batch, tokens], the same whatever a text is padded to."""
        ordinary = self._is_ordinary[tokens]
        counts = ordinary.sum(1)
        wanted = np.minimum(counts, np.maximum(1, np.floor(self.mask_rate * counts + 0.5).astype(np.int64)))
        draw = uniforms(sample_keys(indices, self.seed, "masked", epoch), tokens.shape[1])
        draw[~ordinary] = 2.0  # after all the others
        places = np.argsort(np.argsort(draw, axis=1, kind="stable"), axis=1, kind="stable")
        chosen: NDArray[np.bool_] = places < wanted[:, None]
        return chosen


def check_mask_rate(mask_rate: float) -> None:
    """Raise ValueError for a share of masked tokens that cannot be."""
    if not 0 < mask_rate < 1:
        raise ValueError(f"mask_rate is a share of the tokens and must be in (0, 1), got {mask_rate}")


def check_mask_token(tokenizer: Any) -> None:
    """Raise ValueError for a tokenizer without a mask token."""
    if tokenizer.mask_token_id is None:
        raise ValueError(
            f"the tokenizer in {tokenizer.name_or_path} has no mask token, so its model was not trained to restore "
            "masked tokens; take a model that was, such as BERT or RoBERTa, or set mask_token and save it again"
        )
