"""Texts as the tokens of the backbone that is to read them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.loading.orders import Indices
from datamodules.texts.text_tokens import Tokens, tokenise
from lightning_tl.contracts.batches import TextSpec
from lightning_tl.contracts.conditions import Conditions


class BackboneTokens:
    """Tokenises the texts of a data module for the backbone that it serves, and again when another backbone comes.

    Args:
        asker: name of the data module, for messages.
        max_length: most tokens of a text, special tokens included; None takes the backbone's.
        cache: folder of kept tokens; None as of `tokenise`.
    """

    def __init__(self, asker: str, max_length: int | None, cache: Path | None) -> None:
        self.asker, self.max_length, self.cache = asker, max_length, cache
        self._kept: tuple[TextSpec, Tokens] | None = None

    def spec(self, conditions: Conditions) -> TextSpec:
        """Tokenizer and length, the backbone's.

        Raises:
            ValueError: without a backbone that reads texts, or one that reads shorter ones.
        """
        spec = conditions.input_spec
        if not isinstance(spec, TextSpec):
            raise ValueError(
                f"{self.asker} needs a backbone that reads texts, such as lightning_tl.backbones.HuggingFaceText; "
                f"{conditions.reader} does not"
            )
        length = self.max_length or spec.max_length
        if length > spec.max_length:
            raise ValueError(f"max_length must be at most the backbone's {spec.max_length} tokens, got {length}")
        return dataclasses.replace(spec, max_length=length)

    def of(self, conditions: Conditions, texts: Sequence[str], seconds: Sequence[str] | None) -> Tokens:
        """The tokens of the texts; `seconds` are the second texts of pairs."""
        spec = self.spec(conditions)
        if self._kept is None or self._kept[0] != spec:
            self._kept = spec, tokenise(texts, seconds, spec, self.cache)
        return self._kept[1]


def cut_line(tokens: Tokens, used: Indices, max_length: int) -> str | None:
    """A line about texts that are longer than the model reads; None where there are none."""
    cut = int(tokens.cut[used].sum())
    return f"{cut:,} of {len(used):,} texts are longer than {max_length} tokens and are cut there" if cut else None


def longest_first(indices: Indices, tokens: Tokens) -> Indices:
    """Texts sorted so that batches hold little padding, and memory runs out at once or not at all."""
    ordered: Indices = indices[np.argsort(-tokens.lengths[indices], kind="stable")]
    return ordered
