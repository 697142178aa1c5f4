"""`SegmentationDataModule`: images with a class for each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.labelled.stratified import MadeSplit, check_fractions
from datamodules.masks.mask_listing import MaskColumns
from datamodules.masks.mask_source import MaskSource
from datamodules.masks.masked_images import MaskedImages


class SegmentationDataModule(MaskedImages):
    """Images and masks of class numbers, in folders `images` and `masks` or listed in a table.

    A mask is a grey or palette PNG, or a TIFF of one band, of its image's size and, in folders, of its name. Where the
    data have no splits, whole blocks are put into one where blocks are known; else images are parted by what they show.

    Args:
        root: folder with `images` and `masks`, or with `train`, `val` and `test` that have these; with `manifest` what
            its paths are relative to, default its folder.
        manifest: a table with a row for each image, such as `chips` writes.
        class_names: of the numbers 0, 1, …, or by number; default those of `legend`, else the numbers that occur.
        ignored: number, or numbers, of pixels of which nothing is known; default what `legend` says, else 255.
        legend: JSON or CSV file with number, name and colour of each class; default `classes.json` or `classes.csv`
            beside the data.
        path_column: of the images in `manifest`.
        mask_column: of their masks; empty where an image has none.
        split_column: of "train", "validation" and "test"; not needed.
        block_column: of groups of similar images (a place, a scene); not needed. Intervals draw whole blocks.
        validation_fraction: share for validation, where the data have no splits.
        test_fraction: share for the test; may be 0.
        split_seed: of that split.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        manifest: str | Path | None = None,
        class_names: list[str] | dict[int, str] | None = None,
        ignored: int | list[int] | None = None,
        legend: str | Path | None = None,
        path_column: str = "path",
        mask_column: str = "mask",
        split_column: str = "split",
        block_column: str = "block",
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        check_fractions(validation_fraction, test_fraction)
        source = MaskSource(
            root=None if root is None else Path(root),
            manifest=None if manifest is None else Path(manifest),
            columns=MaskColumns(path_column, mask_column, split_column, block_column),
            class_names=class_names,
            ignored=ignored,
            legend=None if legend is None else Path(legend),
            split=MadeSplit(validation_fraction, test_fraction, split_seed),
        )
        super().__init__(**options)
        self.begin_masks(source)
