"""Samples that have a place on the Earth: split by blocks, told to leak where they are not, blocks for intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.earth.block_grid import BlockGrid
from datamodules.earth.seen_rasters import Box
from datamodules.earth.space import DROPPED, SplitInSpace, told_leak
from datamodules.images.image_records import ImageRecords
from datamodules.labelled.records import UNDIVIDED
from datamodules.labelled.stratified import MadeSplit
from datamodules.tables.tables import check_columns, read_table

_POINT = 1e-6  # degrees to each side of a place that is given without an extent: 0.1 m


@dataclass(frozen=True)
class Places:
    """Where samples lie.

    Args:
        boxes: [n, 4] lowest x and y, highest x and y; not a number where that is not known.
        crs: [n] coordinate systems; None where that is not known.
    """

    boxes: NDArray[np.float64]
    crs: Sequence[str | None]

    @classmethod
    def of_boxes(cls, found: Sequence[tuple[Box | None, str | None]]) -> Places:
        """From what files tell."""
        boxes = [box if box is not None and crs is not None else (np.nan,) * 4 for box, crs in found]
        return cls(np.array(boxes, np.float64).reshape(-1, 4), [crs for _, crs in found])

    @classmethod
    def of_points(cls, table: pd.DataFrame, longitude: str, latitude: str, where: str) -> Places:
        """From columns of degrees.

        Raises:
            ValueError: values that are no place on the Earth.
        """
        x, y = (pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in (longitude, latitude))
        wrong = ~((np.abs(x) <= 180) & (np.abs(y) <= 90))
        if wrong.any():
            first = table.iloc[int(np.flatnonzero(wrong)[0])]
            raise ValueError(
                f"{int(wrong.sum())} rows of {where} have no place on the Earth in {longitude} and {latitude}, in "
                f"degrees: the first has {first[longitude]} and {first[latitude]}"
            )
        return cls(np.stack([x - _POINT, y - _POINT, x + _POINT, y + _POINT], 1), ["EPSG:4326"] * len(x))

    def padded(self, count: int) -> Places:
        """The same for more samples, of which nobody says where they lie."""
        more = count - len(self.boxes)
        return Places(np.concatenate([self.boxes, np.full((more, 4), np.nan)]), [*self.crs, *[None] * more])

    @property
    def known(self) -> NDArray[np.bool_]:
        """[n] whether it is known where a sample lies."""
        found: NDArray[np.bool_] = np.asarray(np.isfinite(self.boxes).all(axis=1))
        return found

    def of(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.float64], list[str]]:
        """Boxes and coordinate systems of samples whose place is known."""
        return self.boxes[chosen], [self.crs[int(k)] or "" for k in chosen]


@dataclass(frozen=True)
class SpaceOptions:
    """What a user says of splits in space; see `EarthDataModule`.

    Args:
        split: "blocks", or None.
        block_km: side of a block.
        gap: whether training tiles that touch others are left out.
        coordinate_columns: of longitude and latitude.
        manifest: table of samples.
    """

    split: str | None = None
    block_km: float | None = None
    gap: bool = False
    coordinate_columns: Sequence[str] | None = None
    manifest: str | Path | None = None

    def __post_init__(self) -> None:
        if self.split not in (None, "blocks"):
            raise ValueError(f"split must be 'blocks' or left out, got '{self.split}'")
        if self.split == "blocks" and self.block_km is None:
            raise ValueError("split is 'blocks': give their side in kilometres with block_km")
        if self.block_km is not None:
            BlockGrid(self.block_km * 1000)
        if self.gap and self.split != "blocks":
            raise ValueError("gap leaves out images at the edges of blocks: set split to blocks")
        if self.coordinate_columns is not None and self.manifest is None:
            raise ValueError("coordinate_columns are columns of manifest: give it")
        if self.coordinate_columns is not None and len(self.coordinate_columns) != 2:
            raise ValueError(f"coordinate_columns are longitude and latitude, got {', '.join(self.coordinate_columns)}")

    @property
    def by_blocks(self) -> bool:
        """Whether whole blocks are parted."""
        return self.split == "blocks"

    def places_of_rows(self, count: int) -> Places | None:
        """Where `count` samples lie, of which the first are a table's rows; None where no columns say.

        Raises:
            ValueError: the table lacks a column, or has values that are no place.
        """
        if self.coordinate_columns is None or self.manifest is None:
            return None
        longitude, latitude = self.coordinate_columns
        table = read_table(Path(self.manifest))
        for name in (longitude, latitude):
            check_columns(table, {"coordinate_columns": name}, Path(self.manifest))
        return Places.of_points(table, longitude, latitude, str(self.manifest)).padded(count)


def split_by_blocks(
    records: ImageRecords,
    places: Places,
    usable: NDArray[np.bool_],
    how: MadeSplit | None,
    block_km: float,
    gap: bool,
    source: str,
    notes: list[str],
) -> ImageRecords:
    """Samples without a split are put into one by the block that they lie in.

    Args:
        records: all samples.
        places: where they lie.
        usable: [n] which of them can be read; others go to training, and are left out later.
        how: shares and seed; None where the data have splits of their own.
        block_km: side of a block.
        gap: leave out training tiles that touch others.
        source: of the samples, for messages.
        notes: where to add what the user should know.

    Raises:
        ValueError: the data have splits, samples have no place, or blocks are too large.
    """
    free = np.flatnonzero((records.splits == UNDIVIDED) & usable)
    if how is None or not len(free):
        raise ValueError(f"split is 'blocks', and {source} says itself what is for training and test: leave split out")
    unknown = free[~places.known[free]]
    if len(unknown):
        raise ValueError(
            f"split is 'blocks', and it is not known where {len(unknown):,} of {len(free):,} images lie, such as "
            f"{records.ids[int(unknown[0])]}: their files have no georeference. Name columns of degrees with "
            "coordinate_columns, or leave split out"
        )
    labels = records.labels[free]
    names: Sequence[str] = records.class_names
    if labels.dtype.kind == "f":
        labels, names = np.zeros(len(free), np.int64), ("all",)
    maker = SplitInSpace(block_km, how.validation_fraction, how.test_fraction, how.seed, gap)
    found, blocks = maker.split(*places.of(free), labels, names, notes)
    splits = np.where(records.splits == UNDIVIDED, "train", records.splits).astype("<U10")
    splits[free] = found
    numbers = np.full(len(splits), -1, np.int64)
    numbers[free] = pd.factorize(blocks)[0]
    return replace(records, splits=splits, blocks=_numbered(numbers))


def with_blocks(records: ImageRecords, places: Places, block_km: float) -> ImageRecords:
    """The same with the block of each sample, for intervals; those without a place are blocks of their own."""
    at = np.flatnonzero(places.known)
    numbers = np.full(len(records.ids), -1, np.int64)
    if len(at):
        boxes, crs = places.of(at)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        numbers[at] = pd.factorize(BlockGrid(block_km * 1000).names(middle[:, 0], middle[:, 1], crs))[0]
    return replace(records, blocks=_numbered(numbers))


def _numbered(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """-1 becomes a number of its own for each sample."""
    free = np.flatnonzero(numbers < 0)
    numbers[free] = numbers.max(initial=-1) + 1 + np.arange(len(free))
    return numbers


def leaks(splits: dict[str, NDArray[np.int64]], places: Places, blocks: NDArray[np.int64] | None) -> list[str]:
    """A line for each split with tiles that touch or overlap a training tile.

    Args:
        splits: the samples of each.
        places: where they lie.
        blocks: [samples] of each; where whole blocks lie on one side, only their edges touch.
    """
    by_blocks = blocks is not None and _on_one_side(splits, blocks)
    notes = []
    for held_out in ("validation", "test"):
        members = np.concatenate([splits["train"], splits[held_out]]).astype(np.int64)
        at = members[places.known[members]]
        if not len(at):
            continue
        names: NDArray[Any] = np.where(np.isin(at, splits["train"]), "train", held_out)
        told = told_leak(names, *places.of(at), held_out)
        if told is not None:
            remedy = "those at the edges of blocks; a gap (gap: true, chips --gap) leaves such training tiles out"
            notes.append(f"{told.split(':')[0]}: {remedy}" if by_blocks else f"{told} (split: blocks, block_km: 10)")
    return notes


def _on_one_side(splits: dict[str, NDArray[np.int64]], blocks: NDArray[np.int64]) -> bool:
    """Whether no block has samples in two splits."""
    inside = [set(blocks[members].tolist()) for name, members in splits.items() if name != "predict"]
    return sum(map(len, inside)) == len(set().union(*inside))


__all__ = ["DROPPED", "Places", "leaks", "split_by_blocks", "with_blocks"]
