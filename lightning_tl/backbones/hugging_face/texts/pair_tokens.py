"""Pairs of texts from the tokens of the first and the words of the second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lightning_tl.contracts.batches import TextInputs


class PairTokens:
    """Joins tokenised premises with hypotheses: `tokenizer(premise, hypothesis, truncation="only_first")`.

    How a family marks the two texts is read off the tokenizer: a hypothesis's frame is its pair with a premise of one
    letter, without that letter. A premise has its special tokens taken off and is put into the frame; what does not
    fit is cut off it.

    Args:
        tokenizer: a fast one of transformers.
        hypotheses: second texts.
        max_length: most tokens of a pair, special ones included.
        segments: whether to make `token_type_ids`.

    Raises:
        ValueError: a hypothesis that leaves no room for a premise.
    """

    def __init__(self, tokenizer: Any, hypotheses: Sequence[str], max_length: int, segments: bool) -> None:
        self.max_length, self.segments = max_length, segments
        self.padding = int(tokenizer.pad_token_id or 0)
        self.pads_left, self.cuts_left = tokenizer.padding_side == "left", tokenizer.truncation_side == "left"
        self.before, self.after = _ends(tokenizer("a").sequence_ids(0))  # special tokens of a text by itself
        frames, types = [], []
        for hypothesis in hypotheses:
            found = tokenizer("a", hypothesis, return_token_type_ids=True)
            ids, kinds = found["input_ids"], found["token_type_ids"]
            start, rest = _ends(found.sequence_ids(0))
            if start + rest >= max_length:
                raise ValueError(
                    f"the hypothesis '{hypothesis}' takes {start + rest} tokens and leaves no room for a text: pairs "
                    f"have at most {max_length}; use shorter templates and descriptions"
                )
            frames.append(torch.tensor(ids[:start] + ids[len(ids) - rest :]))
            types.append(torch.tensor(kinds[:start] + kinds[len(ids) - rest :]))
            self.start, self.kind = start, kinds[start]  # the same for every hypothesis
        self.lengths = torch.tensor([len(frame) for frame in frames])  # [hypotheses]
        self.frames = pad_sequence(frames, batch_first=True)  # [hypotheses, longest]
        self.types = pad_sequence(types, batch_first=True)

    def join(self, inputs: TextInputs, first: Tensor, second: Tensor) -> TextInputs:
        """The pairs of the premises numbered `first` [rows] with the hypotheses numbered `second` [rows].

        Args:
            inputs: premises as tokenised by themselves, at least as long as they fit into a pair.
            first: [rows] places in `inputs`.
            second: [rows] numbers of hypotheses.
        """
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        frame = self.lengths.to(ids.device)[second]
        length = (mask.sum(1) - self.before - self.after)[first]  # of the premise without its special tokens
        kept = torch.minimum(length, self.max_length - frame)
        skipped = mask.argmax(1)[first] + self.before + (length - kept if self.cuts_left else 0)
        total = frame + kept  # [rows]
        width = int(total.max())
        place = torch.arange(width, device=ids.device).expand(len(total), width)  # in the pair, negative in padding
        if self.pads_left:
            place = place - (width - total)[:, None]
        in_premise = (place >= self.start) & (place < (self.start + kept)[:, None])
        in_pair = (place >= 0) & (place < total[:, None])
        from_premise = (place - self.start + skipped[:, None]).clamp(0, ids.shape[1] - 1)
        from_frame = place.where(place < self.start, place - kept[:, None]).clamp(0, self.frames.shape[1] - 1)
        framed = self.frames.to(ids.device)[second].gather(1, from_frame)
        joined = ids[first].gather(1, from_premise).where(in_premise, framed)
        pairs: TextInputs = {"input_ids": joined.where(in_pair, self.padding), "attention_mask": in_pair.long()}
        if self.segments:
            types = self.types.to(ids.device)[second].gather(1, from_frame).masked_fill(in_premise, self.kind)
            pairs["token_type_ids"] = types.where(in_pair, 0)
        return pairs


def _ends(sequence: Sequence[int | None]) -> tuple[int, int]:
    """How many tokens there are before and after the first text."""
    inside = [place for place, number in enumerate(sequence) if number == 0]
    return inside[0], len(sequence) - 1 - inside[-1]
