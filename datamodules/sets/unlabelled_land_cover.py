"""Unlabelled tiles of the shipped imagery, for self-supervised pretraining."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from datamodules.images.augmentation import Augmentation, OverheadAugmentation
from datamodules.images.normalisation import channel_statistics
from datamodules.images.resized import resized
from datamodules.loading.loading import ResumableLoader
from datamodules.loading.resumable_data import ResumableDataModule
from datamodules.loading.seeding import sample_keys, uniforms
from datamodules.loading.unused_options import check_has_effect
from datamodules.sets.land_cover_map import BLOCK_PIXELS, LandCoverMap
from datamodules.sets.satellite import LARGEST_TILE
from lightning_tl.contracts.batches import ImageBatch, ImageSpec

_CHANNELS = 3


class UnlabelledLandCoverDataModule(ResumableDataModule):
    """Random tiles of the land surface, none with a pixel in a validation or test block of the manifest.

    Where a tile lies is a function of (seed, epoch, index), so a resumed run sees the tiles it would have seen. Only
    the image is used, and the land-cover map solely to tell land from open ocean and ice sheets. Where the backbone
    reads images of another size than `tile_size`, tiles are brought to it (bicubic), local crops by the same factor.

    Args:
        tile_size: pixels of the imagery, 1/15 degree each.
        tiles_per_epoch: how many tiles make an epoch.
        batch_size: per process.
        least_land: share of a tile that must be land, in (0, 1].
        views: 2 gives two augmented views of each place, for contrastive pretraining.
        view_shift: with two views, each lies up to this many pixels from the place along both axes.
        local_views: how many smaller crops there are of each tile beside its views, anywhere within it: multi-crop
            (Caron et al. 2020, arXiv 2006.09882, section 3.2).
        local_size: side of such a crop in pixels of the imagery; default half of `tile_size`.
        augmentation: flips and quarter turns by default.
        local_augmentation: of local crops; default as of the views.
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
        local_views: int = 0,
        local_size: int | None = None,
        augmentation: Augmentation | None = None,
        local_augmentation: Augmentation | None = None,
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
        if local_views < 0:
            raise ValueError(f"local_views must be at least 0, got {local_views}")
        if local_size is not None and not 1 <= local_size <= tile_size:
            raise ValueError(f"local_size must be from 1 to tile_size ({tile_size} pixels), got {local_size}")
        check_has_effect("local_size", local_size, None, "local_views", local_views or None)
        self.tile_size, self.tiles_per_epoch, self.least_land = tile_size, tiles_per_epoch, least_land
        self.local_views, self.local_size = local_views, local_size or tile_size // 2
        self.augmentation = augmentation or OverheadAugmentation(shift=0, brightness=0, contrast=0, colour=0)
        self.local_augmentation = local_augmentation or self.augmentation
        self._centres: NDArray[np.int64] | None = None

    def setup(self, stage: str) -> None:
        """Find the places where tiles may lie, and what the backbone reads."""
        if self._centres is None:
            self._find_places()
        wanted, side = self.conditions.input_spec, self.tile_size
        if isinstance(wanted, ImageSpec) and wanted.channels != _CHANNELS:
            raise ValueError(f"the imagery has {_CHANNELS} channels, but the backbone reads {wanted.channels}")
        size = wanted.image_size if isinstance(wanted, ImageSpec) else side
        self.input_spec = ImageSpec(size, _CHANNELS, *self._statistics)
        self.notes = []
        if size != side:
            crops = f", local crops of {self.local_size} to {self._shown}" if self.local_views else ""
            self.notes = [f"tiles of {side} pixels are brought to the {size} that the backbone reads{crops}"]
            rank_zero_info(self.notes[0])

    @property
    def _shown(self) -> int:
        """Side of a local crop in pixels of an input; before `setup`, of the imagery."""
        spec: ImageSpec | None = getattr(self, "input_spec", None)
        side = self.tile_size if spec is None else spec.image_size
        return max(1, round(self.local_size * side / self.tile_size))

    @property
    def crops(self) -> tuple[int, int, int]:
        """See `CroppedData`."""
        return self.views, self.local_views, self._shown

    def _find_places(self) -> None:
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
        self._statistics = channel_statistics(torch.from_numpy(tiles).permute(0, 3, 1, 2))

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
        """Inputs [batch, 3, size, size], or [batch, 2, 3, size, size] with two views, and `local`, normalised."""
        views = [self._view(indices, epoch, number) for number in range(self.views)]
        batch: ImageBatch = {
            "inputs": views[0] if self.views == 1 else torch.stack(views, 1),
            "index": torch.from_numpy(indices),
        }
        if self.local_views:
            batch["local"] = torch.stack([self._local(indices, epoch, number) for number in range(self.local_views)], 1)
        return batch

    def _view(self, indices: NDArray[np.int64], epoch: int, number: int) -> Tensor:
        keys = sample_keys(indices, self.seed, "view", epoch, number)
        centres = self.centres(indices, epoch)
        if self.view_shift:
            draws = uniforms(sample_keys(indices, self.seed, "shift", epoch, number), 2)
            centres = centres + (draws * (2 * self.view_shift + 1)).astype(np.int64) - self.view_shift
        tiles = self._map.tiles(centres[:, 0], centres[:, 1], self.tile_size)
        return self._normalised(self.augmentation.many(_channels_first(tiles), keys), self.input_spec.image_size)

    def _local(self, indices: NDArray[np.int64], epoch: int, number: int) -> Tensor:
        """[batch, 3, h, h]: a square anywhere within the tile."""
        free = self.tile_size - self.local_size
        draws = uniforms(sample_keys(indices, self.seed, "local place", epoch, number), 2)
        corners = self.centres(indices, epoch) - self.tile_size // 2 + (draws * (free + 1)).astype(np.int64)
        middles = corners + self.local_size // 2
        crops = self._map.tiles(middles[:, 0], middles[:, 1], self.local_size)
        keys = sample_keys(indices, self.seed, "local view", epoch, number)
        return self._normalised(self.local_augmentation.many(_channels_first(crops), keys), self._shown)

    def _normalised(self, images: Tensor, size: int) -> Tensor:
        """Images in 0…1, of the backbone's size and values."""
        mean, std = torch.tensor(self.input_spec.mean), torch.tensor(self.input_spec.std)
        return (resized(images, size) - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

    def train_dataloader(self) -> ResumableLoader:
        """Batches of the epoch that the Trainer is in."""
        return self.training_loader(self, np.arange(self.tiles_per_epoch), in_memory=True)


def _channels_first(tiles: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(tiles).permute(0, 3, 1, 2)
