"""`TextReader`: texts to what a graph is fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lightning_tl.serving.answering import BadInputError

MOST_CHARACTERS = 100_000
_SHORTEST = 0.75  # of the longest in a group; 16 texts of 5 to 60 words take 1/1.6 of the time of one batch
Tokens = tuple[list[int], list[int]]  # numbers, and to which text of a pair each belongs


class TextReader:
    """Cuts texts into tokens as prediction does, by the tokenizer that was exported.

    Args:
        tokenizer: the file `tokenizer.json`; lower-casing is in it.
        reads: `max_length` tokens, the number of the `padding` token, whether there are `segments`, and the `prompt`.
        pairs: whether the model reads two texts together.
        most_characters: of a text; a longer one is refused. What is longer than `max_length` tokens is cut off, as in
            training.
    """

    def __init__(
        self, tokenizer: Path, reads: Mapping[str, Any], pairs: bool, most_characters: int = MOST_CHARACTERS
    ) -> None:
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(int(reads["max_length"]), strategy="longest_first", direction=reads["cut"])
        self._take(reads, pairs, most_characters)

    def _take(self, reads: Mapping[str, Any], pairs: bool, most_characters: int) -> None:
        self.padding, self.segments, self.prompt = int(reads["padding"]), bool(reads["segments"]), str(reads["prompt"])
        self.pairs, self.most_characters = pairs, most_characters

    def prepare(self, raw: bytes | str | tuple[str, str]) -> Tokens:
        """The tokens of a text or pair.

        Raises:
            BadInputError: no text, or too long a one.
        """
        wanted = "a pair of texts" if self.pairs else "a text"
        if isinstance(raw, bytes):
            raise BadInputError(f"the model reads {wanted}, not a file", 415)
        texts: tuple[str, ...] = (raw,) if isinstance(raw, str) else tuple(raw)
        if len(texts) != (2 if self.pairs else 1):
            raise BadInputError(f"the model reads {wanted}, got {len(texts)}")
        for text in texts:
            if len(text) > self.most_characters:
                raise BadInputError(
                    f"the text has {len(text):,} characters, more than the {self.most_characters:,} allowed", 413
                )
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise BadInputError("the text has halves of characters (surrogates), which are no text", 422) from None
        first, second = texts[0], texts[1] if self.pairs else None
        return self.tokens(first, second)

    def tokens(self, first: str, second: str | None) -> Tokens:
        """Of a text, or of a pair, at least one."""
        found = self.tokenizer.encode(self.prompt + first, second)
        return (list(found.ids), list(found.type_ids)) if found.ids else ([self.padding], [0])

    def groups(self, prepared: Sequence[Tokens]) -> list[list[int]]:
        """Places of texts that are computed together: of about one length, as padding costs as much as words do."""
        order = sorted(range(len(prepared)), key=lambda place: -len(prepared[place][0]))
        found: list[list[int]] = []
        for place in order:
            if found and len(prepared[place][0]) >= _SHORTEST * len(prepared[found[-1][0]][0]):
                found[-1].append(place)
            else:
                found.append([place])
        return found

    def feeds(self, prepared: Sequence[Tokens]) -> dict[str, NDArray[Any]]:
        """What the graph takes of a batch: texts padded on the right to the longest."""
        shape = len(prepared), max(len(ids) for ids, _ in prepared)
        ids, mask, kinds = np.full(shape, self.padding, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, (numbers, segments) in enumerate(prepared):
            ids[row, : len(numbers)], mask[row, : len(numbers)] = numbers, 1
            kinds[row, : len(numbers)] = segments
        found = {"input_ids": ids, "attention_mask": mask}
        return found | {"token_type_ids": kinds} if self.segments else found
