"""`ItemTexts`: the texts of a catalogue as tokens, ready to be read by an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.backbones.hugging_face.texts.hugging_face_reader import HuggingFaceReader
from lightning_tl.contracts.batches import TextInputs
from lightning_tl.reports.progress import progress_bar

_TOKENISED_AT_ONCE = 5_000
_TOKENS_AT_ONCE = 8_192  # of a batch that is encoded without gradients, padding included

WORTH_TELLING = 1_000  # items whose encoding takes long enough to show how far it is


class ItemTexts:
    """Token numbers of all items, one after the other.

    Args:
        encoder: whose tokenizer and length are used.
        texts: [items].
    """

    def __init__(self, encoder: HuggingFaceReader, texts: Sequence[str]) -> None:
        pieces, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for start in range(0, len(texts), _TOKENISED_AT_ONCE):
            found = encoder.tokenize(texts[start : start + _TOKENISED_AT_ONCE])
            mask = found["attention_mask"].bool().cpu()  # a Trainer builds modules with a GPU as the default device
            pieces.append(found["input_ids"].cpu()[mask].numpy().astype(np.int32))
            lengths.append(mask.sum(1).numpy())
        self.lengths: NDArray[np.int64] = np.concatenate(lengths)
        self._values: NDArray[np.int32] = np.concatenate(pieces)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._segments = encoder.input_spec.segments
        self._padding = getattr(encoder.model.config, "pad_token_id", None) or 0

    def __len__(self) -> int:
        return len(self.lengths)

    def inputs(self, items: NDArray[np.int64], device: torch.device | str = "cpu") -> TextInputs:
        """Padded tokens of these items: [items, longest]."""
        lengths = self.lengths[items]
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self._padding, np.int64)
        ids[mask] = np.concatenate([self._values[self._starts[k] : self._starts[k + 1]] for k in items])
        inputs: TextInputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask).long()}
        if self._segments:
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        return {name: value.to(device) for name, value in inputs.items()}  # type: ignore[return-value, attr-defined]

    def by_length(self) -> Iterator[NDArray[np.int64]]:
        """All items in batches of about the same length, the longest first."""
        order = np.argsort(-self.lengths, kind="stable")
        start = 0
        while start < len(order):
            count = max(1, _TOKENS_AT_ONCE // int(self.lengths[order[start]]))
            yield order[start : start + count]
            start += count


def check_readable(reader: str, texts: Sequence[str], otherwise: str) -> None:
    """Check that an encoder can tell items apart by their texts.

    Args:
        reader: whose encoder it is.
        texts: [items].
        otherwise: what to do where there are none.

    Raises:
        ValueError: texts that are all empty, or all the same.
    """
    first = texts[0].strip() if len(texts) else ""
    if (first == "" or len(texts) > 1) and all(text.strip() == first for text in texts):
        raise ValueError(
            f"the encoder of {reader} has nothing to read: the texts of all {len(texts):,} items are "
            f"{'the same' if first else 'empty'}; name the items' table with data.items and its columns of texts "
            f"with data.texts, or {otherwise}"
        )


@torch.no_grad()
def encode_all(encoder: HuggingFaceReader, texts: ItemTexts, rank: int = 0, ranks: int = 1) -> Tensor:
    """Features of every item, [items, feature_dim] float32, on the encoder's device, which is left in its mode.

    Args:
        encoder: of texts.
        texts: of the catalogue.
        rank: this process computes every `ranks`-th batch from here on; the others' rows are 0.
        ranks: number of processes.
    """
    device = next(encoder.parameters()).device
    table = torch.zeros(len(texts), encoder.feature_dim, device=device)
    was_training = encoder.training
    encoder.eval()
    told = f"Encoding the texts of {len(texts):,} items"
    bar = progress_bar(len(texts), "Encoding texts", "items", rank == 0 and len(texts) >= WORTH_TELLING, told)
    for number, items in enumerate(texts.by_length()):
        if number % ranks == rank:
            table[torch.from_numpy(items).to(device)] = encoder(texts.inputs(items, device)).float()
        bar.update(len(items))
    bar.close()
    encoder.train(was_training)
    return table
