"""`ItemPictures`: pictures of a catalogue, read when an encoder asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.augmentation import resized
from datamodules.image_files import read_image
from datamodules.loading import available_workers
from lightning_tl.batches import ImageSpec

Source = bytes | Path  # an image file's contents, or where it lies


class ItemPictures:
    """One picture of each item, or none.

    Args:
        sources: [items] image files; None for items without a picture.
        ids: [items], for messages.

    Attributes:
        known: [items] whether there is a picture.
    """

    def __init__(self, sources: Sequence[Source | None], ids: Sequence[str]) -> None:
        self.sources, self.ids = sources, ids
        self.known: NDArray[np.bool_] = np.array([source is not None for source in sources], dtype=bool)

    def inputs(self, items: NDArray[np.int64], spec: ImageSpec) -> Tensor:
        """Pictures of these items: [items, channels, image_size, image_size], normalised.

        Raises:
            ValueError: an item without a picture, or one that cannot be read.
        """
        with ThreadPoolExecutor(max(1, available_workers())) as pool:
            images = list(pool.map(lambda item: self._read(int(item), spec), items))
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
        return (torch.stack(images).float() / 255 - mean) / std

    def _read(self, item: int, spec: ImageSpec) -> Tensor:
        """[channels, image_size, image_size], uint8."""
        source = self.sources[item]
        if source is None:
            raise ValueError(f"item {self.ids[item]} has no picture")
        try:
            pixels = read_image(BytesIO(source) if isinstance(source, bytes) else source, spec.channels)
        except Exception as error:  # decoders raise many types
            raise ValueError(
                f"the picture of item {self.ids[item]} cannot be read: {error}. Repair it, or leave its cell empty"
            ) from error
        return resized(torch.from_numpy(np.array(pixels)).permute(2, 0, 1), spec.image_size)


def picture_sources(column: pd.Series, folder: Path) -> list[Source | None]:
    """A column of pictures: paths, file contents, or both as Hugging Face data sets keep them ({"bytes", "path"}).

    Args:
        folder: that relative paths start from.

    Raises:
        ValueError: a cell of another kind, or a path where there is no file.
    """
    return [_source(value, row, str(column.name), folder) for row, value in enumerate(column)]


def _source(value: object, row: int, name: str, folder: Path) -> Source | None:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if value is None or value is pd.NA or value in ("", b"") or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError(f"row {row} has {value!r} as its {name}; a picture is the path or content of an image file")
    path = folder / value
    if not path.is_file():
        raise ValueError(
            f"row {row} has the {name} {path}, which is no file; correct the path, or leave the cell empty"
        )
    return path
