"""`HistoryTexts`: histories as the texts that a user tower with an encoder reads, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.serving.models.text_reader import TextReader

TITLES = "history_titles.parquet"
TOKENIZER = "tokenizer.json"


def write_titles(folder: Path, titles: Sequence[str]) -> None:
    """Write `history_titles.parquet`: what the tower reads of each item, by its number in `history_vectors.npy`."""
    pq.write_table(pa.table({"title": pa.array(list(titles), pa.string())}), folder / TITLES)


def read_titles(folder: Path) -> list[str]:
    """The titles, by the items' numbers in `history_vectors.npy`.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        found: list[str] = pq.read_table(folder / TITLES).column("title").to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"{folder / TITLES} cannot be read ({error}): export the bundle again") from None
    return found


class HistoryTexts:
    """Puts the titles of a history together, the newest first, and cuts them into tokens.

    Args:
        folder: of the bundle, with titles and tokenizer.
        reads: of `TextReader`, and the most `items` of a history and what stands `between` their titles.
        count: how many items histories are read by.

    Raises:
        ValueError: a file is damaged.
    """

    def __init__(self, folder: Path, reads: Mapping[str, Any], count: int) -> None:
        self.titles = read_titles(folder)
        if len(self.titles) != count:
            raise ValueError(f"{folder / TITLES} has {len(self.titles):,} titles of {count:,} items: export again")
        self.reader = TextReader(folder / TOKENIZER, reads, pairs=False)
        self.items, self.between = int(reads["items"]), str(reads["between"])

    def feeds(self, histories: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
        """What the graph takes of histories, each of them places of items, oldest first."""
        texts = [
            self.between.join(self.titles[place] for place in reversed(history[-self.items :])) for history in histories
        ]
        return self.reader.feeds([self.reader.tokens(text, None) for text in texts])
