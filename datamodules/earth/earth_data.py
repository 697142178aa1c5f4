"""`EarthDataModule`: labelled rasters of any number of bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.listed_rasters import Listing, RasterFolder, RasterManifest
from datamodules.earth.placed_samples import DROPPED, Places, SpaceOptions, leaks, split_by_blocks, with_blocks
from datamodules.earth.raster_reader import RasterReader
from datamodules.earth.raster_samples import find_rasters
from datamodules.earth.seen_rasters import SeenRaster, told_of, usual_size
from datamodules.images.image_checks import check_images
from datamodules.images.image_data import ImageDataModule
from datamodules.images.image_records import ImageRecords
from datamodules.images.image_samples import ImageSamples
from datamodules.images.normalisation import Statistics
from datamodules.labelled.fingerprint import fingerprint
from datamodules.labelled.target_columns import TaskOption
from datamodules.loading.loading import available_workers
from datamodules.loading.orders import Indices
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.earth.band_reading import BandReading
from lightning_tl.earth.choosing_bands import AskedBands, as_names
from lightning_tl.earth.composites import COMPOSITES
from lightning_tl.earth.indices import asked_indices
from lightning_tl.inputs.pixel_values import PixelValues


class EarthDataModule(ImageDataModule):
    """Rasters in class folders, or in a table: GeoTIFF, COG, JPEG 2000 of any bands, or folders of one file a band.

    Bands are chosen by name, by common name ("red", "nir") or by wavelength ("842nm"), never by position. Values become
    reflectance where sensor, tags or metadata say how, then 0…1, and are normalised with mean and standard deviation of
    the training images. How files are read is kept in the run's description, and what reads for its model reads alike.

    Args:
        root: folder with a subfolder of rasters, or of products, for each class; see `ImageFolderDataModule`.
        manifest: or a table with a row for each; see `ManifestDataModule`. `root` is then what paths are relative to.
        bands: that become channels, in order; default all of the first raster; empty for none.
        indices: that become channels after them: names ("ndvi"), or names with formulas over bands.
        keep_bands: whether the bands are channels beside indices.
        sensor: whose bands these are, where files do not name them: "sentinel2", "eurosat", "landsat8", "landsat7" or
            "naip"; also says what stored values mean.
        band_names: the bands of files that name none, in their order.
        value_range: lowest and highest physical value, for all bands or by name; "data" for percentiles of the training
            images; default the sensor's, 0…255 of 8 bits, else "data".
        scale: reflectance of a stored 1, where file and sensor do not say.
        add_offset: added to stored values before that: -1000 for Sentinel-2 products since 2022-01-25 that do not say.
        no_data: stored value of pixels without data, where file and sensor do not say.
        most_missing: largest share of an image's pixels without data; beyond it the image counts as one that cannot be
            read (`on_bad_image`).
        composite: what pictures show: "true" colour, "false" (near infrared, red, green) or "swir".
        split: "blocks" puts whole blocks of `block_km` on one side; default as the data say, or by content.
        block_km: side of a block in kilometres; with it, intervals of results draw whole blocks.
        gap: with blocks, leave out training images that touch one of validation or test.
        coordinate_columns: columns of longitude and latitude in degrees, for files without georeference.
        validation_fraction: share for validation, where the data have no splits.
        test_fraction: share for the test; may be 0.
        split_seed: of that split.
        class_names: the classes in the order of their numbers; default all, sorted.
        path_column: of `manifest`; so are the next ones, see `ManifestDataModule`; `block_column` is "block" if there.
        normalisation: where mean and standard deviation come from: the training images, or the backbone.
        **options: see `ImageDataModule`.
    """

    find_samples = staticmethod(find_rasters)
    keeps_middle = True  # of a raster that is no square, when it is brought to the model's size

    def __init__(
        self,
        root: str | Path | None = None,
        manifest: str | Path | None = None,
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
        split: Literal["blocks"] | None = None,
        block_km: float | None = None,
        gap: bool = False,
        coordinate_columns: Sequence[str] | None = None,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        class_names: Sequence[str] | None = None,
        path_column: str = "path",
        label_column: str | list[str] = "label",
        split_column: str = "split",
        block_column: str | None = None,
        task: TaskOption | None = None,
        label_delimiter: str | None = None,
        normalisation: Literal["data", "backbone"] = "data",
        **options: Any,
    ) -> None:
        super().__init__(normalisation=normalisation, **options)
        if composite not in COMPOSITES:
            raise ValueError(f"composite must be {', '.join(COMPOSITES)}, got '{composite}'")
        self.space = SpaceOptions(split, block_km, gap, coordinate_columns, manifest)
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
        self.reader = RasterReader(self.asked, most_missing)
        self.composite = composite
        shares = validation_fraction, test_fraction, split_seed
        columns = path_column, label_column, split_column, block_column, task, label_delimiter
        shared = {
            "predict_root": self.predict_root,
            "normalisation": normalisation,
            "mean": self._mean,
            "std": self._std,
        }
        self.listing = Listing(root, manifest, shares, class_names, columns, shared)
        self.values = PixelValues((0.0, 1.0))  # what a reading gives
        self._seen: dict[int, SeenRaster] = {}  # of rasters that were looked at, until it is kept with the checks
        self._places: Places | None = None

    # ---------------------------------------------------------------- which samples there are

    @property
    def source(self) -> str:
        """Where the samples come from, for messages."""
        return str(self.listing.manifest or self.listing.root)

    def described_columns(self) -> dict[str, Any]:
        """See `ClassificationDataModule`."""
        return self.listing.reader().described_columns()

    def read_records(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        return self._listed(self.listing.reader(), labelled=True)

    def read_unlabelled(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        return self._listed(self.listing.reader(), labelled=False)

    def _listed(self, lister: RasterFolder | RasterManifest, labelled: bool) -> ImageRecords:
        lister.run, lister.whole, lister.labelled = self.run, self.whole, self.labelled
        records = lister.read_records() if labelled else lister.read_unlabelled()
        self.notes += lister.notes
        self.dropped |= lister.dropped
        self.made_split = lister.made_split
        return records

    def read_for(self, run: RunDescription, whole: bool = False) -> None:
        """See `DataOfARun`: bands, indices and value ranges are the run's."""
        super().read_for(run, whole)
        self.reader.forget()
        self._seen, self._places = {}, None

    def _paths(self) -> Sequence[Path]:
        paths = self.records.paths
        assert paths is not None
        return paths

    def _settle(self) -> None:  # which channels there are
        self.reader.settle(self._paths(), {} if self.run is None else self.run.input)

    # ---------------------------------------------------------------- looking at every raster

    def _check(self, wanted: Indices) -> None:
        self._settle()
        if type(self).read_image is not EarthDataModule.read_image:
            return super()._check(wanted)
        seen = self._checks.digests.keys() | self._checks.broken.keys()
        fresh = [index for index in wanted.tolist() if index not in seen]
        if fresh and self.check_images:
            found = check_images(self._looked, lambda values: values, fresh, note=self._seen.pop)
            self._checks = self._checks.joined(found)

    def _looked(self, index: int) -> NDArray[np.float32]:
        values, self._seen[index] = self.reader.look(self._paths()[index])
        return values

    def _where(self) -> Places:
        """Where the samples lie, from the table's columns or from the files; those that cannot be read nowhere."""
        if self._places is None:
            self._places = self.space.places_of_rows(len(self.records.ids)) or self._from_files()
        return self._places

    def _from_files(self) -> Places:
        self._settle()
        if not self.check_images:
            return Places.of_boxes([(seen.box, seen.crs) for seen in map(self.reader.header, self._paths())])
        noted = self._checks.noted
        seen = [noted.get(k) for k in range(len(self.records.ids))]
        return Places.of_boxes([(None, None) if each is None else (each.box, each.crs) for each in seen])

    def _parted(self, records: ImageRecords) -> ImageRecords:
        """Samples without a split are put into one by the block they lie in, or by what they show."""
        block_km, plain = self.space.block_km, self.whole or not self.labelled
        if block_km is None or not self.space.by_blocks or plain:
            records = super()._parted(records)
            if block_km is None or records.blocks is not None or plain:
                return records
            self._check(np.arange(len(records.ids)))
            return with_blocks(records, self._where(), block_km)
        self._check(np.arange(len(records.ids)))
        usable = np.ones(len(records.ids), bool)
        usable[list(self._checks.broken)] = False
        how = self.made_split, block_km, self.space.gap
        found = split_by_blocks(records, self._where(), usable, *how, self.source, self.notes)
        if count := int((found.splits == DROPPED).sum()):
            self.dropped["training images beside those of validation or test"] = count
        return found

    def usable(self, indices: dict[str, Indices]) -> dict[str, Indices]:
        """See `ImageDataModule`; with what was seen of the rasters."""
        self._settle()
        kept = super().usable(indices)
        used = np.concatenate(list(kept.values())).tolist()
        seen = [self._checks.noted[k] for k in used if k in self._checks.noted]
        seen = seen or [self.reader.header(self._paths()[k]) for k in used[:1]]
        self.notes += told_of(seen, self.asked.bands is None, self.keeps_middle)
        if self.run is None and self.labelled and (self.check_images or self.space.coordinate_columns):
            self.notes += leaks(kept, self._where(), self.records.blocks)
        return kept

    # ---------------------------------------------------------------- pixels and pictures

    @property
    def reading(self) -> BandReading:
        """Everything that turns a raster into channels, once `setup` has run."""
        return self.reader.reading

    @property
    def channels(self) -> int:
        """Bands and indices of an input."""
        self._settle()
        return len(self.reading.channels)

    def read_image(self, index: int) -> NDArray[Any]:
        """The channels of one image: [height, width, channels] float32 in 0…1."""
        return self.reader.chip(self._paths()[index]).pixels

    def image(self, index: int) -> NDArray[np.uint8]:
        """A composite of one image, stretched so that it shows something: [height, width, 3]."""
        chip = self.reader.chip(self._paths()[index])
        return self.reading.composite(chip.pixels, self.composite, chip.valid)

    def configure_samples(self) -> tuple[ImageSamples, ImageSamples]:
        """See `ImageDataModule`; forks of a process that used GDAL may wait without end."""
        plain, training = super().configure_samples()
        plain.clean_workers = training.clean_workers = True
        return plain, training

    def _resolved_spec(self) -> ImageSpec:
        """With the names of the channels; value ranges are settled by the training images first."""
        self._settle()
        if not self.reader.finished:
            self.notes += self.reader.finish(self._training_paths(), available_workers())
        names = self.reading.common_names
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

    def _training_paths(self) -> list[Path]:
        return [self._paths()[int(index)] for index in self.indices["train"]]

    def _statistics(self) -> Statistics:
        """Of pixels with data; the others are filled with the mean."""
        return self.reader.statistics(self._training_paths(), available_workers())

    def describe(self) -> dict[str, Any]:
        """See `DescribedData`; with the reading of bands, and how large training images are."""
        told, noted = super().describe(), self._checks.noted
        training = [noted[k] for k in self.indices["train"].tolist() if k in noted] if self.indices else []
        known = {"reading": self.reading.to_json(), **usual_size(training)}
        return {**told, "input": {**told["input"], **known}}

    def fingerprint(self, indices: Indices) -> str:
        """See `ClassificationDataModule`; other bands or ranges are other samples."""
        return fingerprint(self.records, indices, self.input_spec, self.reading)
