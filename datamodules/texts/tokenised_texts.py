"""`TokenisedTexts`: what all data of texts share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from datamodules.loading.orders import Indices, Order
from datamodules.loading.resumable_data import ResumableDataModule
from datamodules.texts.backbone_tokens import BackboneTokens, cut_line, longest_first
from datamodules.texts.length_grouped import LengthGroupedOrder, padding_share
from datamodules.texts.text_rows import OnEmptyText, rows_with_texts, text_columns
from datamodules.texts.text_samples import TextSamples
from datamodules.texts.text_sources import read_source
from datamodules.texts.text_tokens import Tokens, load_tokenizer
from lightning_tl.contracts.batches import TextSpec

REVIEWS = Path(__file__).resolve().parent.parent / "sets" / "reviews" / "reviews.parquet"

Texts = tuple[Sequence[str], Sequence[str] | None]  # a text for each sample, and of pairs the second ones


class TokenisedTexts(ResumableDataModule):
    """A table of texts, their tokens for the backbone at hand, and batches of texts of about the same length.

    Subclasses call `take_text_options` in their constructors, and say which texts of the table they have by
    `text_pairs` and which of them are used by `indices`.
    """

    indices: dict[str, Indices]

    def take_text_options(
        self,
        path: object,
        text: str | Sequence[str],
        on_empty_text: OnEmptyText,
        max_length: int | None,
        length_grouped: bool,
        cache: str | Path | None,
    ) -> None:
        """Keep what the constructors of all data of texts are told alike.

        Args:
            path: of the table; None takes the reviews that ship.
            text: the column of texts; or two columns, for pairs.
            on_empty_text: what to do with rows without text.
            max_length: most tokens of a text; None takes the backbone's.
            length_grouped: whether batches hold texts of about the same length.
            cache: folder of kept tokens.

        Raises:
            ValueError: an option that cannot be.
        """
        self.path = str(REVIEWS) if path is None else str(path)
        self.text = text_columns(text, on_empty_text, max_length)
        self.on_empty_text, self.length_grouped = on_empty_text, length_grouped
        self._tokens = BackboneTokens(type(self).__name__, max_length, None if cache is None else Path(cache))
        self._said: set[str] = set()

    @property
    @abstractmethod
    def text_pairs(self) -> Texts:
        """The texts of all samples."""

    # ---------------------------------------------------------------- which texts there are

    def read_rows(self) -> tuple[pd.DataFrame, int]:
        """The table's rows that have texts, numbered as in the file, and how many have none."""
        everything = read_source(self.path)
        table = rows_with_texts(everything, self.text, self.path, self.on_empty_text)
        return table, len(everything) - len(table)

    def texts_of(self, table: pd.DataFrame) -> tuple[list[str], list[str] | None]:
        """The texts of these rows, and of pairs the second ones."""
        first, *second = (table[column].astype(str).tolist() for column in self.text)
        return first, second[0] if second else None

    def sample_text(self, index: int) -> str:
        """A text as people read it; the two of a pair with a line between them."""
        texts, seconds = self.text_pairs
        return texts[index] if seconds is None else f"{texts[index]}\n{seconds[index]}"

    # ---------------------------------------------------------------- how batches are made

    @property
    def spec(self) -> TextSpec:
        """Tokenizer and length, the backbone's.

        Raises:
            ValueError: without a backbone that reads texts.
        """
        return self._tokens.spec(self.conditions)

    @property
    def tokens(self) -> Tokens:
        """All texts as tokens."""
        return self._tokens.of(self.conditions, *self.text_pairs)

    def text_samples(self, targets: Tensor) -> TextSamples:
        """Tokens and target of each sample."""
        return TextSamples(self.tokens, targets, int(load_tokenizer(self.spec).pad_token_id), self.spec.segments)

    def say_what_was_cut(self) -> None:
        """How many of the texts that are used are longer than the model reads."""
        used = np.concatenate(list(self.indices.values()))
        if line := cut_line(self.tokens, used, self.spec.max_length):
            self._say(line)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            rank_zero_info(text)

    def training_order(self, indices: Indices, rank: int, world_size: int, shuffle: bool) -> Order:
        """Texts of about the same length in a batch, where `length_grouped`."""
        if not self.length_grouped:
            return super().training_order(indices, rank, world_size, shuffle)
        lengths = self.tokens.lengths
        order = LengthGroupedOrder(
            lengths, indices, self.batch_size, self.seed, rank, world_size, shuffle, self.drop_last
        )
        self._say(f"padding is {padding_share(order.batches(0), lengths):.1%} of the tokens in training batches")
        return order

    def reading_order(self, indices: Indices) -> Indices:
        """The longest texts first."""
        return longest_first(indices, self.tokens)
