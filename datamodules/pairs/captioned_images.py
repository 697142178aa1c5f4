"""Image-caption pairs of one's own: a table, a folder with texts beside images, or shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from datamodules.pairs.captioned_data import CaptionedData
from datamodules.pairs.pair_folder import folder_pairs
from datamodules.pairs.pair_records import PairRecords, records_of
from datamodules.pairs.pair_table import table_pairs
from datamodules.pairs.web_shards import shard_files, shard_pairs
from datamodules.tables.table_formats import format_of
from datamodules.tables.tables import read_table

_SPLIT = "split"


class CaptionedImagesDataModule(CaptionedData):
    """Pairs from a table of yours, from a folder in which `name.txt` lies beside `name.jpg`, or from WebDataset shards.

    A table has a row for each image, with one or several columns of captions, or a row for each caption. In a folder a
    text has a caption on each line; where all images lie below `train`, `validation` and `test`, these are the splits.
    Shards are tar archives with `key.jpg` and `key.txt` or `key.json` in them; where the names of all begin with
    `train`, `validation` or `test`, these are the splits. Where nothing says which images are for validation, some are,
    by what they show.

    Args:
        path: a `.csv`, `.tsv`, `.jsonl` or `.parquet` file; a folder of images or of shards; a `.tar` file, or a
            pattern such as `shards/train-*.tar`.
        image: the column of images: paths, or in Parquet also the files' contents.
        caption: the column of captions, or several; a cell may hold a list. Of shards, the field of their `json` files.
        split: the column of splits ("train", "validation", "test"); not needed.
        root: folder that paths in the table are relative to; default the table's.
        on_empty_caption: what to do with images without any caption: "error", or "skip" and say how many.
        **options: splits, augmentation, lengths, workers and seed, see `CaptionedData`.
    """

    def __init__(
        self,
        path: str | Path,
        image: str = "image",
        caption: str | list[str] = "caption",
        split: str = _SPLIT,
        root: str | Path | None = None,
        on_empty_caption: Literal["error", "skip"] = "error",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if on_empty_caption not in ("error", "skip"):
            raise ValueError(f"on_empty_caption must be 'error' or 'skip', got '{on_empty_caption}'")
        self.source = str(path)
        self.path, self.image, self.split, self.root = Path(path), image, split, None if root is None else Path(root)
        self.caption: Sequence[str] = [caption] if isinstance(caption, str) else list(caption)
        if not self.caption:
            raise ValueError("caption must name at least one column")
        self.on_empty_caption: Literal["error", "skip"] = on_empty_caption

    def read_pairs(self) -> PairRecords:
        """See `CaptionedData`."""
        if shards := shard_files(self.path):
            found = shard_pairs(shards, self.caption, self.on_empty_caption, self.on_bad_image)
        elif self.path.is_dir() or format_of(self.path) is None:
            found = folder_pairs(self.path, self.on_empty_caption)
        else:
            asked = self.split if self.split != _SPLIT or _SPLIT in read_table(self.path) else None
            columns = self.image, self.caption, asked
            found = table_pairs(self.path, self.root, *columns, self.on_empty_caption, self.on_bad_image)
        return records_of(found, self.source)
