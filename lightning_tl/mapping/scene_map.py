"""`SceneMap`: an opened scene and model, which make the blocks of a map one by one."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_tl.mapping.block_parts import BlockParts
from lightning_tl.mapping.painted_block import BlockPainter
from lightning_tl.mapping.pixel_mask import PixelMask
from lightning_tl.mapping.plans import Window, blocks, region
from lightning_tl.mapping.scene_source import Pixels, SceneSource

_ROWS = 256  # of a scene that are read at once, as reading takes several times the room of what is read


@dataclass(frozen=True)
class Spent:
    """What a block took.

    Args:
        pixels: of the map that were made.
        reading_s: seconds of reading.
        scoring_s: seconds of scoring and painting.
        made_again: whether the block was there, of other pixels.
    """

    pixels: int = 0
    reading_s: float = 0.0
    scoring_s: float = 0.0
    made_again: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.pixels + other.pixels,
            self.reading_s + other.reading_s,
            self.scoring_s + other.scoring_s,
            self.made_again + other.made_again,
        )


@dataclass(frozen=True)
class SceneMap:
    """Makes blocks; any number of processes may have one of the same job.

    Args:
        source: the scene.
        mask: of pixels that stay without a class.
        painter: with plan and model.
        parts: where blocks go.
    """

    source: SceneSource
    mask: PixelMask | None
    painter: BlockPainter
    parts: BlockParts

    def make(self, number: int) -> Spent:
        """Make a block, where it is not there already.

        Raises:
            OSError: the scene is damaged there, or the disk is full.
        """
        if self.parts.fresh(number):
            return Spent()
        started = time.perf_counter()
        block = blocks(self.painter.plan)[number]
        place = region(self.painter.plan.windows(block))
        pixels, valid = self._read(place)
        digest = _digest(pixels, valid)
        read = time.perf_counter()
        again = self.parts.has(number)
        if again and self.parts.pixels(number) == digest:
            self.parts.keep(number, self.parts.block(number), digest)
            return Spent(reading_s=read - started)
        self.parts.keep(number, self.painter.paint(block, place, pixels, valid), digest)
        return Spent(block[2] * block[3], read - started, time.perf_counter() - read, int(again))

    def _read(self, place: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        row, column, height, width = place
        strips = []
        for top in range(row, row + height, _ROWS):
            strip = (top, column, min(_ROWS, row + height - top), width)
            pixels, valid = self.source.read(strip)
            strips.append((pixels, valid if self.mask is None else valid & ~self.mask.masked(strip)))
        return np.concatenate([each[0] for each in strips]), np.concatenate([each[1] for each in strips])


def _digest(pixels: Pixels, valid: NDArray[np.bool_]) -> str:
    found = hashlib.sha256(np.ascontiguousarray(pixels).data)
    found.update(np.ascontiguousarray(valid).data)
    return found.hexdigest()
