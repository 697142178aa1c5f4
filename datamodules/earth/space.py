"""Splits in space: whole blocks go to training, validation and test, so that neighbours lie on one side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.block_grid import BlockGrid
from datamodules.earth.geodesy import Numbers
from datamodules.earth.outlines import boxes_in_one_crs, touches
from datamodules.labelled.stratified import check_fractions, stratified_split

DROPPED = "dropped"
_ORDER = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitInSpace:
    """How tiles are parted by where they lie.

    Where a block goes is a function of its place and the seed alone, so tiles that come later move none of those that
    are there, and shares are met in the mean. One exception: of a class that a split would have none of, the block that
    comes nearest goes there, where the class has blocks to spare.

    Args:
        block_km: side of a block in kilometres; well above the distance over which neighbours look alike.
        validation_fraction: share of the blocks for validation.
        test_fraction: share of the blocks for the test; may be 0.
        seed: another one gives another split.
        gap: leave out training tiles that touch or overlap a tile of validation or test, as those at the edge of a
            block do.
    """

    block_km: float
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    seed: int = 0
    gap: bool = False

    def __post_init__(self) -> None:
        check_fractions(self.validation_fraction, self.test_fraction)
        BlockGrid(self.block_km * 1000)

    def split(
        self,
        boxes: Numbers,
        crs: str | Sequence[str] | None,
        labels: NDArray[np.int64],
        class_names: Sequence[str],
        notes: list[str] | None = None,
    ) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """The split [n] of each tile, "train", "validation", "test" or "dropped", and its block [n].

        Args:
            boxes: [n, 4] west, south, east, north of each tile.
            crs: one for all, [n] one for each; None for metres on a plane of its own.
            labels: [n] class numbers, or [n, classes] of 0 and 1: which classes are in a tile.
            class_names: by class number.
            notes: where to add what the user should know.

        Raises:
            ValueError: too few blocks for the splits, or a split with one class where there are several.
        """
        blocks = self.blocks(boxes, crs)
        splits = self.of_blocks(blocks, labels, class_names, notes)
        if self.gap:
            splits = self._with_gap(splits, np.asarray(boxes, np.float64).reshape(-1, 4), crs, notes)
        self._check_classes(splits, labels, class_names, notes)
        return splits, blocks

    def blocks(self, boxes: Numbers, crs: str | Sequence[str] | None) -> NDArray[np.str_]:
        """The block [n] in which the middle of each tile lies; arguments as of `split`."""
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        return BlockGrid(self.block_km * 1000).names(middle[:, 0], middle[:, 1], crs)

    def check(self, boxes: Numbers, crs: str | Sequence[str] | None) -> None:
        """Check, before tiles are read, that there are blocks for every split; arguments as of `split`.

        Raises:
            ValueError: there are fewer blocks than splits.
        """
        self._checked_count(self.blocks(boxes, crs))

    @property
    def _splits(self) -> int:
        return len(_ORDER) if self.test_fraction > 0 else len(_ORDER) - 1

    def _checked_count(self, blocks: NDArray[np.str_]) -> int:
        count, wanted = len(np.unique(blocks)), self._splits
        if count < wanted:
            raise ValueError(
                f"the {len(blocks):,} tiles lie in {count} block{'' if count == 1 else 's'} of {self.block_km:g} km, "
                f"and {wanted} splits need at least {wanted}: take smaller blocks, or more tiles"
            )
        return count

    def of_blocks(
        self,
        blocks: NDArray[np.str_],
        labels: NDArray[np.int64],
        class_names: Sequence[str],
        notes: list[str] | None = None,
    ) -> NDArray[np.str_]:
        """The split [n] of each tile by its block [n]; the other arguments as of `split`.

        Raises:
            ValueError: there are fewer blocks than splits.
        """
        count, wanted = self._checked_count(blocks), self._splits
        there = _presence(labels, len(class_names))  # where a class has too few blocks, it is told and not refused
        shares = self.validation_fraction, self.test_fraction, self.seed
        found = stratified_split(list(blocks), there, class_names, *shares, keys=list(blocks))
        if notes is not None:
            parts = ", ".join(
                f"{len(np.unique(blocks[found == name]))} for {name} ({int((found == name).sum()):,} tiles)"
                for name in _ORDER[:wanted]
            )
            notes.append(f"split in space: {count:,} blocks of {self.block_km:g} km, {parts}")
        return found

    def _with_gap(
        self, splits: NDArray[np.str_], boxes: Numbers, crs: str | Sequence[str] | None, notes: list[str] | None
    ) -> NDArray[np.str_]:
        outlines, degrees = boxes_in_one_crs(boxes, crs)
        training = np.flatnonzero(splits == "train")
        near = training[touches(outlines[training], outlines[splits != "train"], degrees)]
        if len(near) == len(training):
            raise ValueError(
                f"all {len(training):,} training tiles touch a tile of validation or test, so that with a gap none is "
                f"left: take larger blocks than {self.block_km:g} km, or leave the gap out"
            )
        splits = splits.copy()
        splits[near] = DROPPED
        if notes is not None:
            notes.append(f"{len(near):,} training tiles that touch a tile of validation or test are left out as a gap")
        return splits

    def _check_classes(
        self, splits: NDArray[np.str_], labels: NDArray[np.int64], class_names: Sequence[str], notes: list[str] | None
    ) -> None:
        there = _presence(labels, len(class_names))
        several = int(there.any(0).sum()) > 1
        for name in _ORDER[: self._splits]:
            inside = there[splits == name].any(0)
            if several and int(inside.sum()) <= 1:
                only = f"only '{class_names[int(inside.argmax())]}'" if inside.any() else "no class"
                raise ValueError(
                    f"with blocks of {self.block_km:g} km and seed {self.seed} the {name} split has {only} of "
                    f"{int(there.any(0).sum())} classes: take smaller blocks or another seed"
                )
            missing = [class_names[int(k)] for k in np.flatnonzero(there.any(0) & ~inside)]
            if missing and notes is not None:
                notes.append(
                    f"the {name} split has no tile of {', '.join(missing)}: too few blocks have "
                    f"{'it' if len(missing) == 1 else 'them'}; smaller blocks may help"
                )


def told_leak(
    splits: NDArray[np.str_], boxes: Numbers, crs: str | Sequence[str] | None, held_out: str = "test"
) -> str | None:
    """What to tell of a split that was not made in space; None where no tile of `held_out` touches a training tile.

    Args:
        splits: [n] of each tile.
        boxes: [n, 4] west, south, east, north.
        crs: one for all, [n] one for each; None for a plane.
        held_out: the split that should be apart from training.
    """
    outlines, degrees = boxes_in_one_crs(boxes, crs)
    asked = outlines[splits == held_out]
    count = int(touches(asked, outlines[splits == "train"], degrees).sum())
    if not count:
        return None
    return (
        f"{count:,} of {len(asked):,} {held_out} tiles touch or overlap a training tile: neighbours look alike, so "
        "scores come out too high; split in space, by blocks"
    )


def _presence(labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Which classes are in each tile: [n, classes] of 0 and 1; negative numbers and those above are none."""
    there = labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(classes)[None, :]
    return np.asarray(there, np.int64)
