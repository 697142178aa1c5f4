"""`ItemTable`: what is known of the items, apart from who took them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.events.item_pictures import Source, picture_sources
from datamodules.tables.tables import check_column, check_columns, rows_listed

TEXTS = ("title", "description", "tags")  # columns that are read where they are there


@dataclass(frozen=True)
class ItemTable:
    """One entry for each item, in the order of the items' numbers.

    Args:
        ids: what the items are called.
        titles: for people.
        texts: title, description and tags in one, for an encoder; empty where nothing is known.
        categories: empty where not known.
        pictures: image files; None where there is none.
    """

    ids: list[str]
    titles: list[str]
    texts: list[str]
    categories: list[str]
    pictures: list[Source | None]

    def __len__(self) -> int:
        return len(self.ids)

    def extended(self, ids: Sequence[str]) -> ItemTable:
        """With further items, of which nothing is known."""
        nothing = [""] * len(ids)
        return ItemTable(
            [*self.ids, *ids],
            [*self.titles, *nothing],
            [*self.texts, *nothing],
            [*self.categories, *nothing],
            [*self.pictures, *([None] * len(ids))],
        )

    def blanks(self) -> list[str]:
        """A note on items without any text, where others have some."""
        blank = sum(not text.strip() for text in self.texts)
        some = f"{blank:,} of {len(self):,} items have no text: an encoder reads nothing of them"
        return [some] if 0 < blank < len(self) else []

    def category_numbers(self) -> NDArray[np.int64]:
        """[items] number of each category, -1 where not known."""
        values = np.array(self.categories, dtype=str)
        _, numbers = np.unique(values, return_inverse=True)
        return np.where(values == "", -1, numbers)


def item_table(
    table: pd.DataFrame, item: str, texts: Sequence[str] | None, category: str | None, picture: str | None, path: Path
) -> ItemTable:
    """Make one of a table that people bring.

    Args:
        table: a row for each item.
        item: column of the ids.
        texts: columns of title, description, tags, …, in the order in which an encoder shall read them. A cell may hold
            a list of words. None takes those of title, description and tags that are there.
        category: column; None for none.
        picture: column, likewise; relative paths start from the folder of `path`.
        path: the file that the table was read from, for messages.

    Raises:
        ValueError: missing columns, ids that occur twice, or none; a column of pictures without any.
    """
    check_columns(table, {"item": item}, path)
    texts = [name for name in TEXTS if name in table] if texts is None else texts
    for argument, name in [
        *(("texts", name) for name in texts),
        *((argument, name) for argument, name in (("category", category), ("picture", picture)) if name is not None),
    ]:
        check_column(table, argument, name, path)
    ids = id_texts(table[item])
    twice = np.flatnonzero(pd.Index(ids).duplicated())
    if len(twice):
        raise ValueError(f"{path} has the item {ids[twice[0]]} more than once: {rows_listed(twice)}; keep one row each")
    columns = [[_cell(value) for value in table[name]] for name in texts]
    joined = [". ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]
    names = [""] * len(ids) if category is None else [_cell(value) for value in table[category]]
    pictures: list[Source | None] = (
        [None] * len(ids) if picture is None else picture_sources(table[picture], path.parent)
    )
    if picture is not None and not any(pictures):
        raise ValueError(
            f"{path} has no picture in its column '{picture}': all {len(ids):,} cells are empty; "
            "fill them with paths or contents of image files, or leave picture out"
        )
    return ItemTable(ids, columns[0] if columns else list(ids), joined or [""] * len(ids), names, pictures)


def id_texts(column: pd.Series) -> list[str]:
    """Ids as texts; whole numbers without a decimal point, whatever type the file gave them."""
    if pd.api.types.is_float_dtype(column) and (column % 1 == 0).all():
        column = column.astype("int64")
    return [str(value) for value in column]


def _cell(value: object) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(map(str, value))
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA else str(value)
