"""`BlockParts`: blocks of a map that are done, on disk until all are."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_tl.mapping.painted_block import PaintedBlock
from lightning_tl.storage.partial_file import write_whole
from lightning_tl.storage.parts_on_disk import PartsOnDisk


class BlockParts(PartsOnDisk):
    """One file a block, each written whole, with a digest of the pixels that it was made of.

    A scene that was cut off and is there again may go on: blocks of files that changed meanwhile are compared by their
    pixels, and made again where these differ.

    Args:
        output: the map.
        job: what the parts depend on, apart from the pixels.
        count: how many blocks there are.
        stamp: what the scene's files look like from outside, such as their sizes and times.
    """

    def __init__(self, output: Path, job: dict[str, object], count: int, stamp: Mapping[str, object]) -> None:
        super().__init__(output, job, count)
        self.stamp = json.dumps(dict(stamp), sort_keys=True)

    def keep(self, number: int, block: PaintedBlock, pixels: str) -> None:
        """Keep a block and the digest of its pixels.

        Raises:
            OSError: the disk is full.
        """
        arrays: dict[str, NDArray[np.generic]] = {"classes": block.classes, "confidence": block.confidence}
        if block.probabilities is not None:
            arrays["probabilities"] = block.probabilities
        content = io.BytesIO()
        np.savez_compressed(content, stamp=np.array(self.stamp), pixels=np.array(pixels), **arrays)  # type: ignore[arg-type]
        write_whole(self._path(number), content.getvalue())

    def fresh(self, number: int) -> bool:
        """Whether a block is there, made from files that look as they do now."""
        return self.has(number) and self._text(number, "stamp") == self.stamp

    def has(self, number: int) -> bool:
        """Whether a block is there."""
        return self._path(number).is_file()

    def pixels(self, number: int) -> str:
        """The digest of the pixels that a block was made of."""
        return self._text(number, "pixels")

    def block(self, number: int) -> PaintedBlock:
        """A block that is there."""
        with np.load(self._path(number)) as file:
            kept = file.get("probabilities")
            return PaintedBlock(file["classes"], file["confidence"], kept)

    def _text(self, number: int, name: str) -> str:
        with np.load(self._path(number)) as file:
            return str(file[name])

    def _path(self, part: int) -> Path:
        return self.folder / f"block-{part:06}.npz"
