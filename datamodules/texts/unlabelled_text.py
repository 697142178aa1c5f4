"""Texts without labels, for pretraining a language model on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.labelled.labels import split_names
from datamodules.labelled.stratified import check_fractions, grouped_split
from datamodules.loading.loading import ResumableLoader
from datamodules.loading.orders import Indices
from datamodules.tables.tables import check_columns
from datamodules.texts.masked_tokens import MaskedTokens, check_mask_rate, check_mask_token
from datamodules.texts.text_rows import OnEmptyText
from datamodules.texts.text_sources import SPLIT
from datamodules.texts.text_tokens import load_tokenizer
from datamodules.texts.tokenised_texts import Texts, TokenisedTexts
from lightning_tl.contracts.file_or_name import FileOrName


class UnlabelledTextDataModule(TokenisedTexts):
    """Texts with masked tokens, from a table of yours; without `path`, the reviews of clothing that ship.

    Texts are tokenised once with the backbone's own tokenizer and kept, as `TextDataModule` keeps them. Where the table
    has a column of splits, training sees the rows of "train", the validation loss those of "validation", and rows of
    "test" are never read. Masks are a function of (seed, epoch, row), so a run can be continued exactly; validation
    texts are always masked alike. See `MaskedTokens`.

    Args:
        path: a `.csv`, `.tsv`, `.jsonl` or `.parquet` file; a folder with such files named `train`, `validation` and
            `test`; or a data set of the Hugging Face hub, `owner/name` or `owner/name:configuration`.
        text: the column of texts; or two columns, for pairs.
        split: the column of splits ("train", "validation", "test"); where no row is for validation, some texts are,
            equal texts (of pairs: first texts) on one side.
        validation_fraction: share of the texts for validation where the table has no such rows.
        split_seed: of that choice; apart from `seed`, so that runs with other seeds are compared on the same texts.
        mask_rate: share of the tokens to restore, in (0, 1).
        max_length: most tokens of a text, special tokens included; default the backbone's.
        on_empty_text: what to do with rows without text: "error", or "skip" and say how many.
        length_grouped: batches of texts of about the same length; False shuffles without a look at lengths.
        cache: folder of kept tokens; default in the cache of Hugging Face datasets (`HF_HOME`).
        batch_size: training texts in a batch, for each device.
        **options: workers and seed, see `ResumableDataModule`.
    """

    def __init__(
        self,
        path: FileOrName | None = None,
        text: str | list[str] = "text",
        split: str = SPLIT,
        validation_fraction: float = 0.05,
        split_seed: int = 0,
        mask_rate: float = 0.15,
        max_length: int | None = None,
        on_empty_text: OnEmptyText = "error",
        length_grouped: bool = True,
        cache: str | Path | None = None,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        check_fractions(validation_fraction, 0)
        check_mask_rate(mask_rate)
        self.take_text_options(path, text, on_empty_text, max_length, length_grouped, cache)
        self.split = split
        self.validation_fraction, self.split_seed = validation_fraction, split_seed
        self.mask_rate = mask_rate
        self.indices: dict[str, Indices] = {}

    # ---------------------------------------------------------------- which texts there are

    def _read(self) -> None:
        """The texts of training and validation, and the rows they stand in."""
        if self.indices:
            return
        table, _ = self.read_rows()
        if self.split != SPLIT:
            check_columns(table, {"split": self.split}, self.path)
        splits = split_names(table[self.split], self.path) if self.split in table else np.full(len(table), "train")
        if not (splits == "train").any():
            rows = ", ".join(f"{name} {(splits == name).sum():,}" for name in np.unique(splits))
            raise ValueError(
                f"{self.path} has no rows to train on (column '{self.split}' has {rows}): mark rows as train, or name "
                "another column as split"
            )
        table, splits = table[splits != "test"], splits[splits != "test"]
        self._texts, self._seconds = self.texts_of(table)
        if not (splits == "validation").any():
            splits = self._with_validation(self._texts)
        self._rows = table.index.to_numpy()
        self.indices = {name: np.flatnonzero(splits == name) for name in ("train", "validation")}

    def _with_validation(self, texts: Sequence[str]) -> Any:
        different = len({" ".join(text.split()).casefold() for text in texts})
        if different < 2:
            raise ValueError(
                f"{self.path} has {different} different text to train on; at least 2 are needed, one of them for "
                "validation"
            )
        labels = np.zeros(len(texts), np.int64)
        return grouped_split(texts, labels, ["text"], self.validation_fraction, 0, self.split_seed)

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """Names of texts by their rows in the table, the first being row-1."""
        return [f"row-{self._rows[int(index)] + 1}" for index in indices]

    @property
    def text_pairs(self) -> Texts:
        """See `TokenisedTexts`."""
        return self._texts, self._seconds

    # ---------------------------------------------------------------- how batches are made

    def prepare_data(self) -> None:
        """Tokenise in one process, before all ranks read what it kept."""
        check_mask_token(load_tokenizer(self.spec))  # before the long work
        self._read()
        _ = self.tokens

    def setup(self, stage: str | None = None) -> None:
        """Read and tokenise the texts.

        Raises:
            ValueError: the tokenizer has no mask token, or there are too few texts.
        """
        tokenizer = load_tokenizer(self.spec)
        check_mask_token(tokenizer)
        self._read()
        no_labels = torch.zeros(len(self._texts), dtype=torch.int64)
        self.samples = MaskedTokens(self.text_samples(no_labels), tokenizer, self.seed, self.mask_rate)
        if stage == "fit":
            self.say_what_was_cut()

    def train_dataloader(self) -> ResumableLoader:
        """Batches of the epoch that the Trainer is in."""
        return self.training_loader(self.samples, self.indices["train"], in_memory=True)

    def val_dataloader(self) -> ResumableLoader:
        """Batches of the validation split."""
        indices = self.reading_order(self.indices["validation"])
        return self.evaluation_loader(self.samples, indices, "validation", in_memory=True)
