"""The land-cover sample that ships with the project."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.images.image_data import ImageDataModule
from datamodules.images.image_records import ImageRecords
from datamodules.sets.land_cover_map import CLASSES, LandCoverMap

LARGEST_TILE, FOLDS = 16, 5


class SatelliteDataModule(ImageDataModule):
    """About 5,000 tiles of NASA imagery in six classes: forest, cropland, urban, water, barren, wetland.

    Which tiles there are is fixed in `land_cover/manifest.parquet`, whatever the seed and the tile size; whole 5°
    blocks are training, validation or test, and no pixel is in two of them. Tiles are kept in memory, and enlarged
    where the backbone wants larger images. A tile's class is the one that covers at least half of its central 0.25°
    (3.75 pixels).

    Args:
        tile_size: side of a tile in pixels of 1/15 degree (7.4 km of latitude); even, at most 16.
        fold: for five-fold cross-validation over blocks: test on this fold, validate on the next; None is fold 0.
        **options: see `ImageDataModule`.
    """

    def __init__(self, tile_size: int = LARGEST_TILE, fold: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if not 2 <= tile_size <= LARGEST_TILE or tile_size % 2:
            raise ValueError(f"tile_size must be even and from 2 to {LARGEST_TILE} pixels, got {tile_size}")
        if fold is not None and not 0 <= fold < FOLDS:
            raise ValueError(f"fold must be in 0…{FOLDS - 1}, got {fold}")
        self.tile_size, self.fold = tile_size, fold or 0

    @cached_property
    def _map(self) -> LandCoverMap:
        return LandCoverMap()

    def read_records(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        manifest = self._map.manifest
        numbers = {name: number for number, name in enumerate(CLASSES)}
        away = (manifest["fold"].to_numpy(np.int64) - self.fold) % FOLDS
        return ImageRecords(
            ids=manifest["id"].tolist(),
            labels=np.array([numbers[name] for name in manifest["label"]], dtype=np.int64),
            splits=np.array(["test", "validation", "train", "train", "train"])[away],
            class_names=CLASSES,
            images=LandCoverMap().tiles(*self._places(), self.tile_size),  # a map of its own: the whole image is let go
            blocks=manifest["block"].to_numpy(np.int64),
        )

    def cover(self, index: int) -> Tensor:
        """Share of a tile's area that each of the six classes covers: [6], in 0…1; other land cover counts for none."""
        rows, columns = self._places()
        return torch.from_numpy(self._map.cover(rows[index], columns[index], self.tile_size / 2)).float()

    def coordinates(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Latitude and longitude of the tiles' centres in degrees: [n, 2]."""
        places: NDArray[np.float32] = self._map.manifest[["latitude", "longitude"]].to_numpy(np.float32)
        return np.asarray(places)[np.asarray(indices, dtype=np.int64)]

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        manifest = self._map.manifest
        return manifest["row"].to_numpy(np.int64), manifest["column"].to_numpy(np.int64)
