"""`UnlabelledEarthDataModule`: rasters of any number of bands without labels, for self-supervised pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.raster_reader import RasterReader
from datamodules.earth.raster_samples import find_rasters
from datamodules.earth.seen_rasters import told_of
from datamodules.images.augmentation import Augmentation, OverheadAugmentation
from datamodules.images.normalisation import Statistics
from datamodules.images.unlabelled_images import UnlabelledImagesDataModule
from datamodules.loading.loading import available_workers
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.earth.choosing_bands import AskedBands, as_names
from lightning_tl.earth.composites import COMPOSITES
from lightning_tl.earth.indices import asked_indices
from lightning_tl.inputs.pixel_values import PixelValues


class UnlabelledEarthDataModule(UnlabelledImagesDataModule):
    """Rasters below a folder, at any depth, or in a table, as `EarthDataModule` reads them; views for pretraining.

    Samples are files of any bands, and folders of one file a band. Pixels without data are filled with their channel's
    mean. The backbone's first layer is matched to the bands by name, and the folder that pretraining leaves names them.

    Args:
        root: the folder; see `UnlabelledImagesDataModule`, of which all options are taken.
        bands: that become channels; see `EarthDataModule` for this and the next ones.
        indices: that become channels after them.
        keep_bands: whether the bands are channels beside indices.
        sensor: whose bands these are, where files do not name them.
        band_names: the bands of files that name none, in their order.
        value_range: lowest and highest physical value, for all bands or by name; "data" for percentiles of the images.
        scale: reflectance of a stored 1, where file and sensor do not say.
        add_offset: added to stored values before that.
        no_data: stored value of pixels without data, where file and sensor do not say.
        most_missing: largest share of an image's pixels without data; beyond it the image counts as one that cannot be
            read (`on_bad_image`).
        composite: what pictures show: "true" colour, "false" or "swir".
        augmentation: of views; default flips and quarter turns.
        normalisation: where mean and standard deviation come from: the images, or the backbone.
        **options: see `UnlabelledImagesDataModule`.
    """

    find_samples = staticmethod(find_rasters)

    def __init__(
        self,
        root: str | Path | None = None,
        bands: Sequence[str] | None = None,
        indices: Sequence[str | dict[str, Any]] | dict[str, Any] = (),
        keep_bands: bool = True,
        sensor: str | None = None,
        band_names: Sequence[str] | None = None,
        value_range: Literal["data"] | Sequence[float] | dict[str, Sequence[float]] | None = None,
        scale: float | None = None,
        add_offset: float | None = None,
        no_data: float | None = None,
        most_missing: float = 0.5,
        composite: Literal["true", "false", "swir"] = "true",
        augmentation: Augmentation | None = None,
        normalisation: Literal["data", "backbone"] = "data",
        **options: Any,
    ) -> None:
        if composite not in COMPOSITES:
            raise ValueError(f"composite must be {', '.join(COMPOSITES)}, got '{composite}'")
        self.asked = AskedBands(
            bands=as_names("bands", bands),
            indices=asked_indices(indices),
            keep_bands=keep_bands and (bands is None or len(bands) > 0),
            sensor=sensor,
            band_names=as_names("band_names", band_names),
            value_range=value_range,
            scale=scale,
            add_offset=add_offset,
            no_data=no_data,
        )
        self.reader, self.composite = RasterReader(self.asked, most_missing), composite
        turned = OverheadAugmentation(shift=0, brightness=0, contrast=0, colour=0)
        super().__init__(root, augmentation=augmentation or turned, normalisation=normalisation, **options)
        self.values = PixelValues((0.0, 1.0))  # what a reading gives

    def is_sample(self, path: Path) -> bool:
        """See `UnlabelledImagesDataModule`."""
        return path.exists()

    @property
    def channels(self) -> int:
        """Bands and indices of an input."""
        self.reader.settle(self.paths, {})
        return len(self.reader.reading.channels)

    def read_image(self, index: int) -> NDArray[Any]:
        """The channels of one image: [height, width, channels] float32 in 0…1."""
        return self.reader.chip(self.paths[index]).pixels

    def image(self, index: int) -> NDArray[np.uint8]:
        """A composite of one image, stretched so that it shows something: [height, width, 3]."""
        chip = self.reader.chip(self.paths[index])
        return self.reader.reading.composite(chip.pixels, self.composite, chip.valid)

    def _looked(self, index: int) -> NDArray[Any]:
        values, self._seen[index] = self.reader.look(self.paths[index])
        return values

    def _usable(self, values: NDArray[Any]) -> object:
        return values

    def _tell_of(self, seen: Sequence[Any]) -> None:
        self.notes += told_of(seen, self.asked.bands is None, middle=False)
        self._tell_of_small([min(each.size) for each in seen])

    def setup(self, stage: str | None = None) -> None:
        """See `UnlabelledImagesDataModule`; forks of a process that used GDAL may wait without end."""
        super().setup(stage)
        self.samples.clean_workers = True

    def _resolved_spec(self) -> ImageSpec:
        """With the names of the channels; value ranges are settled by the images first."""
        trained = [self.paths[int(index)] for index in self.indices]
        if not self.reader.finished:
            self.notes += self.reader.finish(trained, available_workers())
        names = self.reader.reading.common_names
        self.notes += self.reader.told(self.composite)
        backbone = self._backbone_spec()
        if self.normalisation == "backbone" and self._mean is None and backbone and backbone.channels != len(names):
            raise ValueError(
                f"the backbone has mean and std of {backbone.channels} channels, and there are {len(names)} "
                f"({', '.join(names)}): leave normalisation at data"
            )
        spec = super()._resolved_spec()
        self.reader.fill_with(spec.mean)
        return replace(spec, bands=names)

    def _statistics(self) -> Statistics:
        """Of pixels with data; the others are filled with the mean."""
        return self.reader.statistics([self.paths[int(index)] for index in self.indices], available_workers())
