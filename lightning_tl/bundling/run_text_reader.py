"""`RunTextReader`: texts to what a module is fed, by the run's own tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_tl.contracts.batches import TextSpec
from lightning_tl.contracts.text_tokenizer import encode, load_tokenizer
from lightning_tl.serving.models.text_reader import MOST_CHARACTERS, TextReader, Tokens


class RunTextReader(TextReader):
    """As `TextReader`, with what training reads texts by: any tokenizer will do, one that is written in Python too.

    Args:
        spec: what the model reads.
        reads: the same as data, see `TextReader`.
        pairs: whether the model reads two texts together.
        most_characters: of a text.
    """

    def __init__(
        self, spec: TextSpec, reads: Mapping[str, Any], pairs: bool, most_characters: int = MOST_CHARACTERS
    ) -> None:
        self._own, self._spec, self._most = load_tokenizer(spec), spec, int(reads["max_length"])
        self._take(reads, pairs, most_characters)

    def tokens(self, first: str, second: str | None) -> Tokens:
        """See `TextReader`."""
        found = encode(self._own, [first], None if second is None else [second], self._spec, self._most)
        ids = list(found["input_ids"][0])
        return ids, list(found["token_type_ids"][0]) if "token_type_ids" in found else [0] * len(ids)
