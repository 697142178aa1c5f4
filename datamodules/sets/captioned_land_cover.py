"""Captioned tiles of the shipped imagery."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.loading.seeding import sample_keys
from datamodules.pairs.captioned_data import CaptionedData
from datamodules.pairs.pair_records import PairRecords
from datamodules.sets.land_cover_map import LandCoverMap
from datamodules.sets.land_cover_words import KIND_OF_CODE, WORDS, captions_of
from datamodules.sets.satellite import LARGEST_TILE
from datamodules.sets.unlabelled_land_cover import UnlabelledLandCoverDataModule

_MIDDLE = 1.875  # pixels from a tile's centre: the 0.25 degrees that its class is that of


class CaptionedLandCoverDataModule(CaptionedData):
    """Tiles of NASA imagery with captions that the land-cover map gives: what covers a tile, how much, in which zone.

    Validation and test are the labelled tiles of their blocks (see `SatelliteDataModule`). Training has those of the
    training blocks, and further places of the land in these blocks, which are the same for every seed.

    Args:
        more_tiles: places besides the labelled ones.
        **options: augmentation, batch sizes and seed, see `CaptionedData`.
    """

    source = "the land-cover sample"

    def __init__(self, more_tiles: int = 12_000, **options: Any) -> None:
        super().__init__(**options)
        if more_tiles < 0:
            raise ValueError(f"more_tiles must be at least 0, got {more_tiles}")
        self.more_tiles = more_tiles

    def read_pairs(self) -> PairRecords:
        """See `CaptionedData`."""
        land_cover = LandCoverMap()
        manifest = land_cover.manifest
        more = self._more_places(land_cover)
        rows = np.concatenate([manifest["row"].to_numpy(np.int64), more[:, 0]])
        columns = np.concatenate([manifest["column"].to_numpy(np.int64), more[:, 1]])
        return PairRecords(
            ids=[*manifest["id"], *(f"place-{row}-{column}" for row, column in more.tolist())],
            captions=[_captions(land_cover, r, c) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)],
            splits=np.concatenate([manifest["split"].to_numpy(str), np.full(len(more), "train")]).astype("<U10"),
            images=land_cover.tiles(rows, columns, LARGEST_TILE),
        )

    def _more_places(self, land_cover: LandCoverMap) -> NDArray[np.int64]:
        """Row and column of tiles that lie in training blocks, their centres on land: [tiles, 2]."""
        allowed = UnlabelledLandCoverDataModule.allowed_pixels(land_cover)
        inside = ndimage.minimum_filter(allowed, size=LARGEST_TILE + 1, mode="constant", cval=0)
        places = np.flatnonzero(inside & land_cover.land_pixels())
        draws = sample_keys(np.arange(self.more_tiles), 0, "captioned place") % np.uint64(len(places))
        return np.stack(np.divmod(np.unique(places[draws.astype(np.int64)]), land_cover.image.shape[1]), 1)


def _captions(land_cover: LandCoverMap, row: int, column: int) -> tuple[str, ...]:
    middle, whole = (_shares(land_cover, row, column, half) for half in (_MIDDLE, LARGEST_TILE / 2))
    return captions_of(middle, whole, 90 - row * 180 / land_cover.image.shape[0])


def _shares(land_cover: LandCoverMap, row: int, column: int, half: float) -> NDArray[np.float64]:
    """Share of a square's area that each kind of land cover has: [kinds], 1 in sum."""
    codes = land_cover.code_shares(row, column, half)
    return np.bincount(KIND_OF_CODE, codes, minlength=len(WORDS)).astype(np.float64)
