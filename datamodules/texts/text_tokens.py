"""Texts turned into token numbers once, and kept in a memory-mapped file that is named after their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datamodules.loading.made_once import cache_folder, made_once
from lightning_tl.contracts.batches import TextSpec
from lightning_tl.contracts.text_tokenizer import encode, load_tokenizer

if TYPE_CHECKING:
    from datasets import Dataset

_TOKENIZER_FILES = ("tokenizer", "vocab", "merges", "special", "added", "spiece", "sentencepiece")
__all__ = ["Tokens", "load_tokenizer", "tokenise"]

_FORMAT = 2  # of the kept files; part of their names


class Tokens:
    """The tokens of all texts, read from disk as they are asked for.

    Args:
        folder: as written by `datasets.Dataset.save_to_disk`.

    Attributes:
        lengths: [n] tokens of each text, special ones included.
        cut: [n] whether a text was longer than the model reads.
    """

    def __init__(self, folder: Path) -> None:
        from datasets import load_from_disk

        self.folder = folder
        self._dataset: Any = load_from_disk(str(folder)).with_format("arrow")
        self.lengths: NDArray[np.int64] = self._column("length").astype(np.int64)
        self.cut: NDArray[np.bool_] = self._column("cut").astype(bool)

    def _column(self, name: str) -> NDArray[Any]:
        found: NDArray[Any] = self._dataset[:][name].to_numpy()
        return found

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, indices: NDArray[np.int64], *names: str) -> list[NDArray[np.int64]]:
        """The values of columns of lists for these texts, one text after the other: [sum of lengths] each."""
        rows = self._dataset[indices]
        lists = [rows[name].combine_chunks().flatten() for name in names]
        return [values.to_numpy(zero_copy_only=False).astype(np.int64) for values in lists]


def tokenise(texts: Sequence[str], seconds: Sequence[str] | None, spec: TextSpec, cache: Path | None = None) -> Tokens:
    """The tokens of the texts, from the cache where the same texts were tokenised before.

    Args:
        texts: in the order of the samples; of pairs, the first of each.
        seconds: second texts of pairs.
        spec: what the model reads.
        cache: folder of kept tokens; default `lightning_tl` in the cache of Hugging Face datasets (`HF_HOME`).
    """
    folder = (cache or cache_folder()) / _key(texts, seconds, spec)
    return Tokens(made_once(folder, "state.json", lambda temporary: _keep(texts, seconds, spec, temporary)))


def _keep(texts: Sequence[str], seconds: Sequence[str] | None, spec: TextSpec, folder: Path) -> None:
    """Write the tokens; the bars of datasets are worth showing for many texts alone."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    quiet = len(texts) < 50_000 and not are_progress_bars_disabled()
    if quiet:
        disable_progress_bars()
    try:
        _encode(texts, seconds, spec).save_to_disk(str(folder))
    finally:
        if quiet:
            enable_progress_bars()


def _encode(texts: Sequence[str], seconds: Sequence[str] | None, spec: TextSpec) -> Dataset:
    from datasets import Dataset

    tokenizer = load_tokenizer(spec)

    def columns_of(rows: dict[str, list[str]]) -> dict[str, list[Any]]:
        found = encode(tokenizer, rows["text"], rows.get("second"), spec)
        lengths = [len(ids) for ids in found["input_ids"]]
        return {**found, "length": lengths, "cut": [bool(cut) for cut in found["cut"]]}

    columns = {"text": list(texts)} | ({} if seconds is None else {"second": list(seconds)})
    return Dataset.from_dict(columns).map(
        columns_of, batched=True, remove_columns=list(columns), load_from_cache_file=False, desc="Tokenising"
    )


def _key(texts: Sequence[str], seconds: Sequence[str] | None, spec: TextSpec) -> str:
    read = spec.max_length, spec.segments, spec.prompt, spec.lower_case
    digest = hashlib.sha256(repr((_FORMAT, *read, pa.__version__)).encode())
    for file in sorted(Path(spec.tokenizer).iterdir()):
        if file.is_file() and file.name.startswith(_TOKENIZER_FILES):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for column in (texts, seconds or ()):
        digest.update(f"{len(column)}\0".encode())
        for text in column:
            digest.update(f"{len(text)}\0{text}".encode())
    return digest.hexdigest()[:32]
