"""Pairs from a table: a column of images, and one or more of captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_warn

from datamodules.labelled.labels import split_names
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.pairs.blank_captions import is_blank
from datamodules.pairs.image_sources import ImageSource
from datamodules.pairs.pair_records import CaptionedImage
from datamodules.tables.tables import check_column, read_table, rows_listed
from lightning_tl.contracts.notice import Notice

_LOOKED_AT = 100  # cells of a column
OnBad = Literal["error", "skip"]


def table_pairs(
    path: Path,
    root: Path | None,
    image: str,
    captions: Sequence[str],
    split: str | None,
    on_empty_caption: OnBad,
    on_bad_image: OnBad,
) -> list[CaptionedImage]:
    """A row for each image or for each caption; a cell may hold a list of captions.

    Args:
        path: of the table.
        root: folder that paths of images are relative to; None for the table's.
        image: column of images: paths, or in Parquet also contents of files (as Hugging Face data sets have them).
        captions: columns of captions, of which a row needs one at least.
        split: column of splits; None for none.
        on_empty_caption: what to do with rows without any caption.
        on_bad_image: what to do with rows whose image is not there.

    Raises:
        ValueError: a column is missing, or a cell holds something else.
        FileNotFoundError: the table is not there, or images are not.
    """
    table = read_table(path)
    check_column(table, "image", image, path)
    for name in captions:
        check_column(table, "caption", name, path)
    if split is not None:
        check_column(table, "split", split, path)
    splits = np.full(len(table), UNDIVIDED) if split is None else split_names(table[split], str(path))
    columns = [(name, table[name].tolist()) for name in captions]
    for name, cells in columns:
        _check_no_written_lists(name, cells, path)
    said = [_texts([(name, values[row]) for name, values in columns], row, path) for row in range(len(table))]
    empty = [row for row, texts in enumerate(said) if not texts]
    tell_of_empty(
        len(empty), f"{len(empty):,} rows of {path}", ", ".join(captions), rows_listed(empty), on_empty_caption
    )
    folder = path.parent if root is None else root
    found, absent = [], []
    for row, (cell, texts) in enumerate(zip(table[image].tolist(), said, strict=True)):
        if not texts:
            continue
        source = _source(cell, folder, row)
        if source is None:
            absent.append((row, cell))
            continue
        name = str(cell) if isinstance(cell, str) else f"row-{row + 1}"
        found.append(CaptionedImage(name, source, texts, str(splits[row])))
    _tell_of_absent(absent, path, folder, image, on_bad_image)
    return found


def tell_of_empty(count: int, what: str, columns: str, which: str, on_empty_caption: OnBad) -> None:
    """Refuse samples without a caption, or say how many are left out.

    Args:
        count: of samples without any caption; nothing is told of none.
        what: how many of what, for the message.
        columns: where captions were looked for.
        which: the first few of them.
        on_empty_caption: "error" or "skip".

    Raises:
        ValueError: there are some, and they are not to be skipped.
    """
    if not count:
        return
    told = f"{what} have no caption ({columns}): {which}"
    if on_empty_caption == "error":
        raise ValueError(f"{told}; write one, or set on_empty_caption to skip")
    rank_zero_warn(f"{told}; they are left out", category=Notice)


def _check_no_written_lists(name: str, cells: Sequence[Any], path: Path) -> None:
    """Refuse a column whose lists became texts when a table was written as CSV: brackets would be learned as words.

    Raises:
        ValueError: naming the column and a cell.
    """
    first = [cell for cell in cells if isinstance(cell, str) and cell.strip()][:_LOOKED_AT]
    if first and all(cell.strip().startswith(("['", '["')) and cell.strip().endswith(("']", '"]')) for cell in first):
        raise ValueError(
            f"the column {name} of {path} has lists that were written as texts, such as {first[0][:60]}: write the "
            "table as JSON Lines or Parquet, which hold lists, or a row for each caption"
        )


def _texts(cells: Sequence[tuple[str, Any]], row: int, path: Path) -> tuple[str, ...]:
    """The captions of a row, without empty ones."""
    texts: list[str] = []
    for name, cell in cells:
        for value in cell if isinstance(cell, list | tuple | np.ndarray) else [cell]:
            if isinstance(value, str):
                texts += [] if is_blank(value) else [value]
            elif value is not None and not (pd.api.types.is_scalar(value) and pd.isna(value)):
                raise ValueError(
                    f"row {row + 1} of {path} has {str(value)[:40]}, a {type(value).__name__}, as its {name}; a "
                    "caption is a text, or a list of texts"
                )
    return tuple(texts)


def _source(cell: object, folder: Path, row: int) -> ImageSource | None:
    """Where an image lies; None where it does not."""
    if isinstance(cell, dict):
        return _source(cell.get("bytes"), folder, row) or _source(cell.get("path"), folder, row)
    if isinstance(cell, bytes):
        return cell or None
    if isinstance(cell, str):
        path = folder / cell
        return path if cell and path.is_file() else None
    if cell is None or (pd.api.types.is_scalar(cell) and pd.isna(cell)):
        return None
    raise ValueError(
        f"row {row + 1} has a {type(cell).__name__} as its image; it must be the path or content of a file"
    )


def _tell_of_absent(
    absent: Sequence[tuple[int, object]], path: Path, folder: Path, image: str, on_bad_image: OnBad
) -> None:
    if not absent:
        return
    named = listed([f"row {row + 1} ({cell if isinstance(cell, str) else 'empty'})" for row, cell in absent])
    told = f"{len(absent):,} rows of {path} have no image ({image}) that is there: {named}"
    if on_bad_image == "error":
        raise FileNotFoundError(
            f"{told}; paths are relative to {folder} (set root to change that), or set on_bad_image to skip"
        )
    rank_zero_warn(f"{told}; they are left out", category=Notice)
