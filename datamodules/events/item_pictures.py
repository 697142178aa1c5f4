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

from datamodules.images.resized import resized
from datamodules.loading.loading import available_workers
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.inputs.image_files import read_image

Source = bytes | Path  # an image file's contents, or where it lies
_QUOTED = 40  # characters of a cell that a message shows


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
        pixels = torch.from_numpy(np.array(self.pixels(item, spec.channels)))
        return resized(pixels.permute(2, 0, 1), spec.image_size)

    def pixels(self, item: int, channels: int = 3) -> NDArray[np.uint8]:
        """The picture of one item as it is stored: [height, width, channels].

        Args:
            item: its number.
            channels: bands of the result, 3 for RGB.

        Raises:
            ValueError: it has none, or one that cannot be read.
        """
        source = self.sources[item]
        if source is None:
            raise ValueError(f"item {self.ids[item]} has no picture")
        try:
            return read_image(BytesIO(source) if isinstance(source, bytes) else source, channels)
        except Exception as error:  # decoders raise many types
            unknown = isinstance(source, bytes) and "not an image" in str(error)
            where = "" if isinstance(source, bytes) else f" in '{source}'"
            why = f"its {len(source):,} bytes are no image of a known format" if unknown else f"{error}{where}"  # type: ignore[arg-type]
            raise ValueError(
                f"the picture of item {self.ids[item]} cannot be read: {why}. Repair it, or leave its cell empty"
            ) from error


def picture_sources(column: pd.Series, folder: Path) -> list[Source | None]:
    """A column of pictures: paths, file contents, or both as Hugging Face data sets keep them ({"bytes", "path"}).

    Args:
        column: a cell for each item; an empty one is an item without a picture.
        folder: that relative paths start from.

    Raises:
        ValueError: a cell of another kind, or a path where there is no file.
    """
    return [_source(value, row, str(column.name), folder) for row, value in enumerate(column, start=1)]


def _source(value: object, row: int, name: str, folder: Path) -> Source | None:
    if isinstance(value, dict):
        return _source(value.get("bytes"), row, name, folder) or _source(value.get("path"), row, name, folder)
    if isinstance(value, bytes):
        return value or None
    if isinstance(value, str):
        return _file(value, row, name, folder) if value else None
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return None
    raise ValueError(
        f"row {row} has {_short(repr(value))} as its {name}; a picture is the path or content of an image file"
    )


def _file(value: str, row: int, name: str, folder: Path) -> Path:
    path = folder / value
    try:
        why = None if path.is_file() else "is no file"
    except OSError as error:  # a name that is too long, a folder that may not be read
        why = f"cannot be opened ({error.strerror})"
    if why:
        raise ValueError(
            f"row {row} has the {name} '{_short(value)}', which {why}; correct the path (relative ones start from "
            f"{folder}), or leave the cell empty; contents of files are bytes, not text"
        )
    return path


def _short(text: str) -> str:
    """Its beginning and its end, which tells files apart."""
    text = " ".join(text.split())
    half = _QUOTED // 2
    return text if len(text) <= _QUOTED else f"{text[: half - 1]}…{text[-half:]}"
