"""`UnlabelledImagesDataModule`: images of one's own without labels, for self-supervised pretraining."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import nn

from datamodules.images.augmentation import Augmentation
from datamodules.images.image_checks import check_images, little_ranges, without_broken
from datamodules.images.image_records import ImageRecords
from datamodules.images.loose_images import find_images
from datamodules.images.normalisation import Statistics, band_statistics
from datamodules.images.unlabelled_listing import SPLIT, images_of_folder, images_of_table
from datamodules.images.view_options import ViewOptions, augmentations
from datamodules.images.view_samples import ViewSamples
from datamodules.labelled.records import listed
from datamodules.loading.loading import ResumableLoader, available_workers
from datamodules.loading.orders import Indices
from datamodules.loading.resumable_data import ResumableDataModule
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.inputs.image_files import read_pixels
from lightning_tl.inputs.pixel_values import Pixels, PixelValues, eight_bits

_FEWEST = 2  # images, of which one can be told from another


class UnlabelledImagesDataModule(ResumableDataModule):
    """Images in a folder, at any depth, or in a table: views for pretraining, none of a split for validation or test.

    Folders that are called after such splits, as `ImageFolderDataModule` knows them ("test", "val", "dev", …), are left
    out at any depth, and so are a table's rows. An image that another equals pixel by pixel is left out: as each
    other's negatives both would teach what is not true. What is left out is counted and said.

    Each view is cut out at random, brought to the backbone's size, and augmented, as a function of (seed, epoch, index,
    number of the view), so a run can be continued exactly, with any number of workers. An image is decoded once for all
    of its views.

    Args:
        root: the folder; with `manifest` the one that its paths are relative to.
        manifest: a table with a row for each image, `.csv`, `.tsv`, `.jsonl` or `.parquet`.
        path_column: of `manifest`.
        split_column: of `manifest`: rows of "validation" and "test" are never read. Not needed.
        views: 1, as a masked autoencoder reads, or 2, as contrastive and distilling objectives do.
        area: least and largest share of an image's area that a view covers; [1, 1] takes the middle of the whole.
        local_views: how many smaller crops there are of each image beside its views: multi-crop (Caron et al. 2020,
            arXiv 2006.09882, section 3.2).
        local_size: height and width of these in pixels; default half of `image_size`.
        local_area: least and largest share of an image's area that a local crop covers.
        augmentation: of views, after the crop: an `Augmentation` such as `ViewAugmentation` or, for images from above,
            `OverheadAugmentation`; or a torchvision v2 transform. Default `ViewAugmentation` with two views, and flips
            with one.
        second_augmentation: of the second view; default as of the first.
        local_augmentation: of local crops; default as of the first view.
        image_size: height and width of a view in pixels; default the backbone's.
        mean: per band, of values in 0…1; default by `normalisation`.
        std: per band, of values in 0…1; default by `normalisation`.
        normalisation: where `mean` and `std` come from: the backbone, or the images.
        value_range: lowest and highest value of pixels that mean something, see `ImageDataModule`.
        on_bad_image: what to do with files that are not there or cannot be read: "error", or "skip" and say how many.
        check_images: read every file once before training; without it copies are not found, and a broken file is met
            only when its turn comes.
        **options: batch size, workers and seed, see `ResumableDataModule`.
    """

    find_samples = staticmethod(find_images)  # what the samples below a folder are

    def __init__(
        self,
        root: str | Path | None = None,
        manifest: str | Path | None = None,
        path_column: str = "path",
        split_column: str = SPLIT,
        views: int = 1,
        area: Sequence[float] = (0.32, 1.0),
        local_views: int = 0,
        local_size: int | None = None,
        local_area: Sequence[float] = (0.05, 0.32),
        augmentation: Augmentation | nn.Module | None = None,
        second_augmentation: Augmentation | nn.Module | None = None,
        local_augmentation: Augmentation | nn.Module | None = None,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        normalisation: Literal["backbone", "data"] = "backbone",
        value_range: Sequence[float] | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        check_images: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if root is None and manifest is None:
            raise ValueError("give root, a folder of images, or manifest, a table of their paths")
        for name, value, known in (
            ("on_bad_image", on_bad_image, ("error", "skip")),
            ("normalisation", normalisation, ("backbone", "data")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, got '{value}'")
        if on_bad_image == "skip" and not check_images:
            raise ValueError("on_bad_image: skip leaves out what a look at all files finds: set check_images: true")
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
        if std is not None and not all(value > 0 for value in std):
            raise ValueError(f"std must be above 0 in every band, got {list(std)}")
        kinds = augmentations(views, augmentation, second_augmentation, local_augmentation)
        self.view_options = ViewOptions(views, area, local_views, local_size, local_area, *kinds)
        self.root, self.manifest = (None if place is None else Path(place) for place in (root, manifest))
        self.path_column, self.split_column = path_column, split_column
        self._image_size, self._mean, self._std, self.normalisation = image_size, mean, std, normalisation
        self.values = PixelValues(value_range)
        self.on_bad_image, self.check_images = on_bad_image, check_images
        self.input_spec: ImageSpec | None = None
        self._forget()

    def _forget(self) -> None:
        self.notes: list[str] = []  # on what was read, for the user
        self.dropped: dict[str, int] = {}  # images that were left out, by reason
        self.indices: Indices = np.zeros(0, np.int64)  # of the images that are trained on
        self._records: ImageRecords | None = None
        self._seen: dict[int, Any] = {}  # of images that were looked at, until it is kept with the checks
        self._digests: dict[int, str] = {}
        self._read_with: int | None = None  # channels

    # ---------------------------------------------------------------- which images there are

    @property
    def source(self) -> str:
        """Where the images come from, for messages."""
        return str(self.manifest or self.root)

    @property
    def records(self) -> ImageRecords:
        """All images that may be trained on."""
        if self._records is None:
            self._records = self._listed()
        return self._records

    def _listed(self) -> ImageRecords:
        if self.manifest is None:
            assert self.root is not None
            return images_of_folder(self.root, self.notes, self.dropped, self.find_samples)
        columns, skip = (self.path_column, self.split_column), self.on_bad_image == "skip"
        return images_of_table(self.manifest, self.root, *columns, self.notes, self.dropped, self.is_sample, skip)

    def is_sample(self, path: Path) -> bool:
        """Whether a path of the table leads to an image."""
        return path.is_file()

    @property
    def paths(self) -> Sequence[Path]:
        """Of the images, by their numbers."""
        paths = self.records.paths
        assert paths is not None
        return paths

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """Names of images: their paths below the folder, or as the table has them."""
        return [self.records.ids[int(index)] for index in indices]

    @property
    def image_digests(self) -> list[str]:
        """See `DigestedImages`: with them, later runs tell when these weights are tested on images that they saw."""
        return [self._digests[k] for k in self.indices.tolist()] if self._digests else []

    @property
    def crops(self) -> tuple[int, int, int]:
        """See `CroppedData`."""
        of = self.view_options
        return of.views, of.local_views, of.local_side(0 if self.input_spec is None else self.input_spec.image_size)

    # ---------------------------------------------------------------- pixels

    @property
    def channels(self) -> int:
        """Bands of an input."""
        spec = self._backbone_spec()
        return spec.channels if spec is not None else len(self._mean) if self._mean is not None else 3

    def read_image(self, index: int) -> NDArray[Any]:
        """The stored values of one image: [height, width, channels]."""
        return read_pixels(self.paths[index], self.channels)

    def pixels(self, index: int) -> Pixels:
        """One image as uint8, or as float32 in 0…1: [height, width, channels]."""
        try:
            return self.values(self.read_image(index), self.channels)
        except Exception as error:  # decoders raise many types: OSError, SyntaxError, ValueError, struct.error …
            raise OSError(f"{self.paths[index]} cannot be read: {error or type(error).__name__}") from error

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image as people look at it, not normalised: [height, width, 3]."""
        pixels = eight_bits(self.pixels(index))
        return pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)

    # ---------------------------------------------------------------- set-up

    def setup(self, stage: str | None = None) -> None:
        """List and look at the images.

        Raises:
            FileNotFoundError: there is no such folder, table or file.
            ValueError: there are fewer than two images, or some cannot be read; or a crop is larger than a view.
        """
        if self._read_with != self.channels:  # the first time, or for another backbone
            self._forget()
            self._choose()
            self._read_with = self.channels
        self.input_spec = spec = self._resolved_spec()
        reader = copy.copy(self)  # what workers get where processes are spawned: without the trainer and its model
        reader.trainer = None
        reader.serve(self.conditions)
        self.samples = ViewSamples(reader.pixels, spec, *self.view_options.made(spec.image_size), self.seed)
        for note in dict.fromkeys(self.notes):
            rank_zero_info(note)

    def _choose(self) -> None:
        """The images to train on: those that can be read, one of each."""
        every = np.arange(len(self.records.ids))
        if not self.check_images:
            self.indices = every
            self._check_count()
            return
        checks = self._checks = check_images(self._looked, self._usable, every.tolist(), note=self._seen.pop)
        kept = without_broken(checks, self.records, {"train": every}, self.on_bad_image)["train"]
        if lost := len(every) - len(kept):
            self.dropped["images that cannot be read"] = lost
            self.notes.append(f"{lost:,} of {len(every):,} images of {self.source} cannot be read and are left out")
        first = {checks.digests[k]: k for k in reversed(kept.tolist())}
        self.indices = np.array(sorted(first.values()), np.int64)
        if copies := [k for k in kept.tolist() if first[checks.digests[k]] != k]:
            self.dropped["copies of other images"] = len(copies)
            self.notes.append(
                f"{len(copies):,} images equal others and are left out: {listed(self.sample_ids(copies), 3)}"
            )
        self._digests = checks.digests
        self._check_count()
        self._tell_of([checks.noted[k] for k in self.indices.tolist()])

    def _check_count(self) -> None:
        if len(self.indices) < _FEWEST:
            raise ValueError(
                f"{self.source} has {len(self.indices)} different image to train on; pretraining tells images apart "
                f"and needs at least {_FEWEST}"
            )

    def _looked(self, index: int) -> NDArray[Any]:
        values = self.read_image(index)
        self._seen[index] = values.shape[:2]
        return values

    def _usable(self, values: NDArray[Any]) -> object:
        return self.values(values, self.channels)

    def _tell_of(self, seen: Sequence[Any]) -> None:
        """Note what the user should know of the images that were looked at."""
        self.notes += little_ranges(self._checks, self.values.value_range)
        self._tell_of_small([min(shape) for shape in seen])

    def _tell_of_small(self, sides: Sequence[int]) -> None:
        size = self._size()
        if small := sum(side < size for side in sides):
            self.notes.append(f"{small:,} images are smaller than the {size} pixels of a view: crops are enlarged")

    def _backbone_spec(self) -> ImageSpec | None:
        spec = self.conditions.input_spec
        return spec if isinstance(spec, ImageSpec) else None

    def _size(self) -> int:
        spec = self._backbone_spec()
        size = self._image_size or (None if spec is None else spec.image_size)
        if size is None:
            raise ValueError("image_size is not known without a backbone: set image_size")
        return size

    def _resolved_spec(self) -> ImageSpec:
        """Image size, mean and standard deviation: as given, from the images, or the backbone's."""
        spec, mean, std = self._backbone_spec(), self._mean, self._std
        if mean is None or std is None:
            if self.normalisation == "data":
                found = self._statistics()
            elif spec is not None:
                found = spec.mean, spec.std
            else:
                raise ValueError("mean and std are not known without a backbone: set them, or normalisation='data'")
            mean, std = mean or found[0], std or found[1]
        return ImageSpec(self._size(), self.channels, tuple(mean), tuple(std))

    def _statistics(self) -> Statistics:
        return band_statistics(self.pixels, self.indices, available_workers())

    def train_dataloader(self) -> ResumableLoader:
        """Batches of the epoch that the Trainer is in."""
        return self.training_loader(self.samples, self.indices)
