"""Where the bytes of an image lie: a file of its own, a cell of a table, or a place inside an archive."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_tl.inputs.image_files import read_pixels


@dataclass(frozen=True)
class Member:
    """A file inside an archive that is not packed, so that it is read without the files before it.

    Args:
        archive: path of the archive.
        offset: bytes before its content.
        size: bytes of its content.
    """

    archive: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Its content.

        Raises:
            OSError: the archive is shorter than it was.
        """
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            found = file.read(self.size)
        if len(found) < self.size:
            raise OSError(f"{self.archive} ends after {self.offset + len(found):,} bytes: it was cut off")
        return found


ImageSource = Path | bytes | Member


def source_pixels(source: ImageSource, channels: int) -> NDArray[np.generic]:
    """The pixels of an image as they are stored, see `read_pixels`: [height, width, channels]."""
    if isinstance(source, Path):
        return read_pixels(source, channels)
    return read_pixels(BytesIO(source.read() if isinstance(source, Member) else source), channels)
