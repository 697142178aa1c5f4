"""`EarthSegmentationDataModule`: rasters of any number of bands with a class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.earth_data import EarthDataModule
from datamodules.earth.raster_samples import find_rasters
from datamodules.labelled.stratified import MadeSplit, check_fractions
from datamodules.masks.mask_listing import MaskColumns
from datamodules.masks.mask_source import MaskSource
from datamodules.masks.masked_images import MaskedImages
from lightning_tl.contracts.batches import IGNORED
from lightning_tl.earth.needed_libraries import rasterio_module

_BESIDE = 0.5  # of a pixel by which a mask may lie beside its image
_OF_CLASSES = {"label_column": "label", "task": None, "label_delimiter": None}


class EarthSegmentationDataModule(MaskedImages, EarthDataModule):
    """Rasters as `EarthDataModule` reads them, each with a mask as `SegmentationDataModule` has them.

    Pixels without data count nowhere, whatever their mask says.

    Args:
        root: folder with `images` and `masks`, or with `train`, `val` and `test` that have these; with `manifest` what
            its paths are relative to, default its folder.
        manifest: a table with a row for each raster, such as `chips` writes.
        class_names: of the numbers 0, 1, …, or by number; default those of `legend`, else the numbers that occur.
        ignored: number, or numbers, of pixels of which nothing is known; default what `legend` says, else 255.
        legend: JSON or CSV file with number, name and colour of each class; default `classes.json` or `classes.csv`
            beside the data.
        path_column: of the rasters in `manifest`.
        mask_column: of their masks; empty where a raster has none.
        split_column: of "train", "validation" and "test"; not needed.
        block_column: of groups of similar rasters; not needed. Intervals draw whole blocks.
        validation_fraction: share for validation, where the data have no splits.
        test_fraction: share for the test; may be 0.
        split_seed: of that split.
        **options: bands, indices, sensor, blocks in space and more, see `EarthDataModule`.
    """

    keeps_middle = False

    def __init__(
        self,
        root: str | Path | None = None,
        manifest: str | Path | None = None,
        class_names: list[str] | dict[int, str] | None = None,
        ignored: int | list[int] | None = None,
        legend: str | Path | None = None,
        path_column: str = "path",
        mask_column: str = "mask",
        split_column: str = "split",
        block_column: str = "block",
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        check_fractions(validation_fraction, test_fraction)
        if given := [name for name, value in _OF_CLASSES.items() if options.get(name, value) != value]:
            raise ValueError(f"{', '.join(given)} is for images of a class, and here pixels have one: leave it out")
        source = MaskSource(
            root=None if root is None else Path(root),
            manifest=None if manifest is None else Path(manifest),
            columns=MaskColumns(path_column, mask_column, split_column, block_column),
            class_names=class_names,
            ignored=ignored,
            legend=None if legend is None else Path(legend),
            split=MadeSplit(validation_fraction, test_fraction, split_seed),
        )
        super().__init__(root=root, manifest=manifest, **options)
        self.begin_masks(source)

    def find(self, folder: Path) -> Sequence[Path]:
        """See `MaskedImages`: rasters, and folders of one file for each band."""
        return find_rasters(folder).paths

    def frame_of(self, path: Path) -> tuple[int, int]:
        """See `MaskedImages`; of a folder, once it is known which bands are read."""
        if path.is_dir():
            with self.reading.open(path) as raster:
                return raster.height, raster.width
        with rasterio_module().open(path) as file:
            return int(file.height), int(file.width)

    def apart(self, mask: Path, image: Path) -> str:
        """See `MaskedImages`: where both have a place it must be one, or labels lie beside their pixels."""
        if mask.suffix.lower() not in (".tif", ".tiff") or image.is_dir():
            return ""
        with rasterio_module().open(mask) as one, rasterio_module().open(image) as other:
            if None in (one.crs, other.crs) or one.transform.is_identity or other.transform.is_identity:
                return ""
            corners = [file.transform * (x, y) for file in (one, other) for x, y in ((0, 0), (file.width, file.height))]
            side = max(abs(other.transform.a) + abs(other.transform.b), abs(other.transform.d) + abs(other.transform.e))
            away = np.abs(np.array(corners[:2]) - np.array(corners[2:])).max() / side
        if one.crs == other.crs and away <= _BESIDE:
            return ""
        far = f"lies {away:.3g} pixels beside" if one.crs == other.crs else f"is in {one.crs}, which is not that of"
        return f"{far} its image {image.name}: bring it to the image's grid"

    def mask(self, index: int) -> NDArray[np.int64]:
        """See `MaskedImages`."""
        classes = super().mask(index)
        seen = self._checks.noted.get(index)
        if seen is None or seen.missing:
            classes[~self.reader.chip(self._paths()[index]).valid] = IGNORED
        return classes
