"""`ImageDataModule`: the base of every image data set."""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from datamodules.images.augmentation import Augmentation, PerImage
from datamodules.images.image_checks import ImageChecks, check_images, little_ranges, seen_note, without_broken
from datamodules.images.image_records import ImageRecords
from datamodules.images.image_samples import ImageSamples
from datamodules.images.loose_images import find_images, read_loose_images
from datamodules.images.normalisation import Statistics, band_statistics
from datamodules.labelled.classification_data import ClassificationDataModule
from datamodules.labelled.equal_samples import equal_notes
from datamodules.labelled.records import UNDIVIDED, unknown_labels
from datamodules.labelled.stratified import MadeSplit, stratified_split
from datamodules.loading.loading import available_workers
from datamodules.loading.orders import Indices
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.inputs.image_files import read_pixels
from lightning_tl.inputs.pixel_values import Pixels, PixelValues, eight_bits

_PICTURE = 4  # most channels of what is a picture: red, green, blue and transparency


class ImageDataModule(ClassificationDataModule[ImageRecords], ABC):
    """Labelled images in training, validation and test; a subclass says which, in `read_records`.

    A sample's order, crop and colours in an epoch depend on (seed, epoch, index) only, so a run can be continued from
    any batch exactly as it would have gone on, with any number of workers (see `ResumableLoader`).

    Args:
        image_size: height and width in pixels; default the backbone's.
        mean: per band, of values in 0…1; default the backbone's.
        std: per band, of values in 0…1; default the backbone's.
        normalisation: where `mean` and `std` come from when they are not given: the backbone, or the bands of the
            training images.
        augmentation: of training images: an `Augmentation`, or a torchvision v2 transform, applied to single uint8
            images [channels, image_size, image_size]; None for none.
        value_range: lowest and highest value of pixels that mean something, which become black and white; default all
            that 8 or 16 bits can hold, and 0…1 for floats.
        on_bad_image: what to do with image files that cannot be read: "error", or "skip" and say how many.
        check_images: read every file once before training starts; without it a broken file is met only when its turn
            comes.
        predict_root: a folder of images without labels, at any depth, that `predict` runs on in place of the data's.
        **options: few labels, batch sizes, workers and seed, see `ClassificationDataModule` and `ResumableDataModule`.
    """

    noun = "images"
    find_samples = staticmethod(find_images)  # what the samples below a folder are

    def __init__(
        self,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        normalisation: Literal["backbone", "data"] = "backbone",
        augmentation: Augmentation | nn.Module | None = None,
        value_range: Sequence[float] | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        check_images: bool = True,
        predict_root: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image must be 'error' or 'skip', got '{on_bad_image}'")
        if normalisation not in ("backbone", "data"):
            raise ValueError(f"normalisation must be 'backbone' or 'data', got '{normalisation}'")
        if std is not None and not all(value > 0 for value in std):
            raise ValueError(f"std must be above 0 in every band, got {list(std)}")
        self._image_size, self._mean, self._std, self.normalisation = image_size, mean, std, normalisation
        if augmentation is None:
            augmentation = Augmentation()
        self.augmentation = augmentation if isinstance(augmentation, Augmentation) else PerImage(augmentation)
        self.values = PixelValues(value_range)
        self.on_bad_image, self.check_images = on_bad_image, check_images
        self.made_split: MadeSplit | None = None  # of samples whose split is `UNDIVIDED`
        self._checks = ImageChecks()
        self.predict_root = None if predict_root is None else Path(predict_root)
        self.input_spec: ImageSpec | None = None

    # ---------------------------------------------------------------- what subclasses change

    def read_image(self, index: int) -> NDArray[Any]:
        """The pixels of one image: [height, width, channels], uint8, uint16, or floats in 0…1.

        Values of other kinds are understood with `value_range`.
        """
        records = self.records
        if records.images is not None:
            pixels: NDArray[np.uint8] = records.images[index]
            return pixels
        if records.paths is None:
            raise NotImplementedError(f"{type(self).__name__} must override read_image: its records have no pixels")
        return read_pixels(records.paths[index], self.channels)

    def more_fields(self, records: ImageRecords, more: ImageRecords) -> dict[str, Any]:
        """Fields of a subclass's own records, with values for further images without labels."""
        return {}

    def pixels(self, index: int) -> Pixels:
        """One image as uint8, or as float32 in 0…1: [height, width, channels]."""
        if self.records.paths is None or type(self).read_image is not ImageDataModule.read_image:
            return self.values(self.read_image(index), self.channels)
        try:
            return self.values(self.read_image(index), self.channels)
        except Exception as error:  # decoders raise many types: OSError, SyntaxError, ValueError, struct.error …
            raise OSError(f"{self.records.paths[index]} cannot be read: {error or type(error).__name__}") from error

    def _read(self) -> ImageRecords:
        """What `super` reads, and the images in `predict_root`."""
        self._records = super()._read()
        self._records = records = self._parted(self._records)
        if self.predict_root is None:
            return records
        if records.paths is None:
            raise ValueError(
                f"{type(self).__name__} keeps its images in memory, beside which predict_root cannot be read: predict "
                "with the model of a finished run (predict --run), or read the folder with ImageFolderDataModule"
            )
        more = read_loose_images(self.predict_root, "predict_root", find=self.find_samples)
        assert more.paths is not None
        return replace(
            records,
            ids=[*records.ids, *more.ids],
            labels=np.concatenate([records.labels, unknown_labels(records.labels, len(more.ids))]),
            splits=np.concatenate([records.splits, more.splits]),
            paths=[*records.paths, *more.paths],
            blocks=None if records.blocks is None else np.concatenate([records.blocks, np.full(len(more.ids), -1)]),
            **self.more_fields(records, more),
        )

    def _parted(self, records: ImageRecords) -> ImageRecords:
        """Samples without a split are put into one by what they show, so that equal pictures lie on one side."""
        free = np.flatnonzero(records.splits == UNDIVIDED)
        if len(free) == 0 or self.made_split is None:
            return records
        if self.whole:
            return replace(records, splits=np.where(records.splits == UNDIVIDED, "test", records.splits))
        self._check(np.arange(len(records.ids)))
        ids, labels, how = [records.ids[k] for k in free.tolist()], records.labels[free], self.made_split
        keys = [self._checks.digests.get(k, records.ids[k]) for k in free.tolist()]
        if len(set(keys)) < len(keys):
            self.notes.append(f"{len(keys) - len(set(keys)):,} pictures are copies of others: copies lie on one side")
        shares = how.validation_fraction, how.test_fraction, how.seed
        splits = records.splits.astype("<U10")
        splits[free] = stratified_split(ids, labels, records.class_names, *shares, keys=keys, notes=self.notes)
        return replace(records, splits=splits)

    def _check(self, wanted: Indices) -> None:
        """Read these images once, if they are to be checked and have not been."""
        seen = self._checks.digests.keys() | self._checks.broken.keys()
        fresh = [index for index in wanted.tolist() if index not in seen]
        if fresh and self.check_images:
            found = check_images(self.read_image, lambda values: self.values(values, self.channels), fresh)
            self._checks = self._checks.joined(found)

    def read_for(self, run: RunDescription, whole: bool = False) -> None:
        """See `DataOfARun`."""
        super().read_for(run, whole)
        self._checks = ImageChecks()  # other images may have these numbers now

    def read_new(self) -> ImageRecords | None:
        """See `ClassificationDataModule`."""
        if self.predict_root is not None and self.predict_split in (None, "predict"):
            return read_loose_images(self.predict_root, "predict_root", notes=self.notes, find=self.find_samples)
        return super().read_new()

    # ---------------------------------------------------------------- what strategies, callbacks and reports ask

    @property
    def channels(self) -> int:
        """Bands of an input."""
        spec = self._backbone_spec() or self.input_spec
        return spec.channels if spec is not None else len(self._mean) if self._mean is not None else 3

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image as people look at it, not normalised: [height, width, 3]."""
        pixels = eight_bits(self.pixels(index))
        return pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)

    # ---------------------------------------------------------------- set-up

    def usable(self, indices: dict[str, Indices]) -> dict[str, Indices]:
        """Leaves out images that cannot be read, where that is wanted."""
        if self.records.images is not None or not self.check_images:
            return indices
        self._check(np.sort(np.concatenate(list(indices.values()))))
        if self.run is None and self.labelled:
            records = self.records
            self.notes += equal_notes(records.ids, records.splits, records.labels, self._checks.digests, "pictures")
        self.notes += seen_note(self._checks, indices.get("test", np.zeros(0, np.int64)), self.conditions.weights)
        told = little_ranges(self._checks, self.values.value_range)
        if told and type(self).read_image is not ImageDataModule.read_image:
            raise ValueError(f"read_image: {told[0]}")
        self.notes += told
        kept = without_broken(self._checks, self.records, indices, self.on_bad_image)
        if lost := sum(map(len, indices.values())) - sum(map(len, kept.values())):
            self.dropped["images that cannot be read"] = lost
        return kept

    def split_digests(self, split: str) -> list[str]:
        """See `DigestedSplits`."""
        known = self._checks.digests
        return [known[k] for k in self.indices[split].tolist() if k in known]

    def configure_samples(self) -> tuple[ImageSamples, ImageSamples]:
        """Images as they are, and augmented."""
        self.input_spec = spec = self._resolved_spec()
        if spec.channels > _PICTURE and not spec.bands and type(self).read_image is ImageDataModule.read_image:
            self.notes.append(f"the {spec.channels} bands are taken by position; EarthDataModule takes them by name")
        return self._samples(spec)

    def _backbone_spec(self) -> ImageSpec | None:
        spec = self.conditions.input_spec
        return spec if isinstance(spec, ImageSpec) else None

    def _resolved_spec(self) -> ImageSpec:
        """Image size, mean and standard deviation: as given, from the data, or the backbone's."""
        spec, images = self._backbone_spec(), self.records.images
        if images is not None and images.shape[3] != self.channels:
            raise ValueError(
                f"the images have {images.shape[3]} channels, but the backbone takes {self.channels}: "
                "use a backbone with as many channels as the images"
            )
        native = None if images is None else images.shape[1]
        size = self._image_size or (native if spec is None else spec.image_size)
        if size is None:
            raise ValueError("image_size is not known without a backbone: set image_size")
        mean, std = self._mean, self._std
        if mean is None or std is None:
            trained = self.run.image_spec if self.run is not None else None
            if self.normalisation == "data" and trained is not None:
                found = trained.mean, trained.std  # what the run's model was trained with
            elif self.normalisation == "data":
                found = self._statistics()
            elif spec is not None:
                found = spec.mean, spec.std
            else:
                raise ValueError("mean and std are not known without a backbone: set them, or normalisation='data'")
            mean, std = mean or found[0], std or found[1]
        return ImageSpec(size, self.channels, tuple(mean), tuple(std))

    def _statistics(self) -> Statistics:
        """Mean and standard deviation of each band of the training images."""
        return band_statistics(self.pixels, self.indices["train"], available_workers())

    def _samples(self, spec: ImageSpec) -> tuple[ImageSamples, ImageSamples]:
        """Samples as they are, and augmented."""
        records = self.records
        targets = self.targets()
        stack = None
        if records.images is not None:
            stack = torch.from_numpy(records.images).permute(0, 3, 1, 2).contiguous()
        reader = copy.copy(self)  # what workers get where processes are spawned: without the trainer and its model
        reader.trainer = None
        common = (reader.pixels, stack, targets, spec)
        as_floats = self.run is not None and self.run.resizes_floats
        plain, training = (
            ImageSamples(*common, augmentation, self.seed, as_floats)
            for augmentation in (Augmentation(), self.augmentation)
        )
        return plain, training

    def describe(self) -> dict[str, Any]:
        """See `DescribedData`; with how images are brought to their size, where it is not as files are."""
        told, images = super().describe(), self.records.images
        size = told["input"].get("image_size")
        if images is not None and size is not None and images.shape[1:3] != (size, size):
            told["input"] = {**told["input"], "resize": "floats"}
        return told

    @property
    def in_memory(self) -> bool:
        """Whether the images lie in memory."""
        return self.records.images is not None
