"""Unlabelled tiles of the shipped imagery, for self-supervised pretraining."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from datamodules.images.augmentation import Augmentation, OverheadAugmentation
from datamodules.images.normalisation import channel_statistics
from datamodules.loading.loading import ResumableLoader
from datamodules.loading.resumable_data import ResumableDataModule
from datamodules.loading.seeding import sample_keys, uniforms
from datamodules.sets.land_cover_map import BLOCK_PIXELS, LandCoverMap
from datamodules.sets.satellite import LARGEST_TILE
from lightning_tl.contracts.batches import ImageBatch, ImageSpec


class UnlabelledLandCoverDataModule(ResumableDataModule):
    """Random tiles of the land surface, none with a pixel in a validation or test block of the manifest.

    Where a tile lies is a function of (seed, epoch, index), so a resumed run sees the tiles it would have seen. Only
    the image is used, and the land-cover map solely to tell land from open ocean and ice sheets.

    Args:
        tile_size: pixels.
        tiles_per_epoch: how many tiles make an epoch.
        batch_size: per process.
        least_land: share of a tile that must be land, in (0, 1].
        views: 2 gives two augmented views of each place, for contrastive pretraining.
        view_shift: with two views, each lies up to this many pixels from the place along both axes.
        augmentation: flips and quarter turns by default.
        seed: of the places, the order and the augmentation; default the seed of `seed_everything`, or 0.
    """

    def __init__(
        self,
        tile_size: int = 16,
        tiles_per_epoch: int = 51_200,
        batch_size: int = 256,
        least_land: float = 0.1,
        views: int = 1,
        view_shift: int = 2,
        augmentation: Augmentation | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=0, seed=seed)
        if tile_size < 1 or tile_size % 2 or tile_size > BLOCK_PIXELS:
            raise ValueError(f"tile_size must be even and at most {BLOCK_PIXELS} pixels, got {tile_size}")
        if tiles_per_epoch < batch_size:
            raise ValueError(f"tiles_per_epoch must be at least batch_size ({batch_size}), got {tiles_per_epoch}")
        if not 0 < least_land <= 1:
            raise ValueError(f"least_land is a share of a tile and must be in (0, 1], got {least_land}")
        if views not in (1, 2):
            raise ValueError(f"views must be 1 or 2, got {views}")
        if view_shift < 0:
            raise ValueError(f"view_shift must be at least 0 pixels, got {view_shift}")
        self.views, self.view_shift = views, view_shift if views == 2 else 0
        self.tile_size, self.tiles_per_epoch, self.least_land = tile_size, tiles_per_epoch, least_land
        self.augmentation = augmentation or OverheadAugmentation(shift=0, brightness=0, contrast=0, colour=0)
        self._centres: NDArray[np.int64] | None = None

    def setup(self, stage: str) -> None:
        """Find the places where tiles may lie."""
        if self._centres is not None:
            return
        land_cover = self._map = LandCoverMap()
        allowed = self.allowed_pixels(land_cover)
        # A centre is a pixel corner; its tile is rows centre - half … centre + half - 1, moved by `view_shift` at most.
        margin = self.tile_size // 2 + self.view_shift
        inside = ndimage.minimum_filter(allowed, size=2 * margin + 1, mode="constant", cval=0)
        land = ndimage.uniform_filter(land_cover.land_pixels().astype(np.float32), self.tile_size)
        good = inside & (land >= self.least_land)
        if not good.any():
            raise ValueError(
                f"there is no place for tiles of {self.tile_size} pixels with least_land {self.least_land:g} and "
                f"view_shift {self.view_shift}: lower one of them"
            )
        self._centres = np.flatnonzero(good)
        training = land_cover.manifest[land_cover.manifest["split"] == "train"]
        size = min(self.tile_size, LARGEST_TILE)  # larger ones would reach out of the training blocks
        tiles = land_cover.tiles(training["row"].to_numpy(), training["column"].to_numpy(), size)
        mean, std = channel_statistics(torch.from_numpy(tiles).permute(0, 3, 1, 2))
        self.input_spec = ImageSpec(self.tile_size, 3, mean, std)

    @staticmethod
    def allowed_pixels(land_cover: LandCoverMap) -> NDArray[np.bool_]:
        """Pixels outside every validation and test block: [2700, 5400]."""
        manifest = land_cover.manifest
        held_out = manifest.loc[manifest["split"] != "train", "block"].unique()
        rows, columns = (size // BLOCK_PIXELS for size in land_cover.image.shape[:2])
        free = np.ones(rows * columns, bool)
        free[held_out] = False
        return np.kron(free.reshape(rows, columns), np.ones((BLOCK_PIXELS, BLOCK_PIXELS), bool)).astype(bool)

    def centres(self, indices: Sequence[int] | NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Row and column of the pixel corner in the middle of each tile: [n, 2]."""
        assert self._centres is not None
        draw = sample_keys(indices, self.seed, "place", epoch) % np.uint64(len(self._centres))
        places = self._centres[draw.astype(np.int64)]
        return np.stack([places // self._map.image.shape[1], places % self._map.image.shape[1]], 1)

    def fetch(self, indices: NDArray[np.int64], epoch: int) -> ImageBatch:
        """Inputs [batch, 3, size, size], or [batch, 2, 3, size, size] with two views, normalised."""
        views = [self._view(indices, epoch, number) for number in range(self.views)]
        return {"inputs": views[0] if self.views == 1 else torch.stack(views, 1), "index": torch.from_numpy(indices)}

    def _view(self, indices: NDArray[np.int64], epoch: int, number: int) -> Tensor:
        keys = sample_keys(indices, self.seed, "view", epoch, number)
        centres = self.centres(indices, epoch)
        if self.view_shift:
            draws = uniforms(sample_keys(indices, self.seed, "shift", epoch, number), 2)
            centres = centres + (draws * (2 * self.view_shift + 1)).astype(np.int64) - self.view_shift
        tiles = self._map.tiles(centres[:, 0], centres[:, 1], self.tile_size)
        images = self.augmentation.many(torch.from_numpy(tiles).permute(0, 3, 1, 2), keys)
        mean, std = torch.tensor(self.input_spec.mean), torch.tensor(self.input_spec.std)
        return (images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

    def train_dataloader(self) -> ResumableLoader:
        """Batches of the epoch that the Trainer is in."""
        return self.training_loader(self, np.arange(self.tiles_per_epoch), in_memory=True)
