"""`ImageDataModule`: the base of every image data set."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datamodules.augmentation import Augmentation, PerImage
from datamodules.image_checks import without_broken
from datamodules.image_files import read_image
from datamodules.image_records import SPLITS, ImageRecords, check_classes
from datamodules.image_samples import ImageSamples
from datamodules.loading import ResumableLoader, available_workers
from datamodules.normalisation import band_statistics
from datamodules.orders import Indices
from datamodules.resumable_data import ResumableDataModule
from datamodules.stratified import FewLabels
from lightning_tl.batches import InputSpec


class ImageDataModule(ResumableDataModule, ABC):
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
        label_fraction: share of the labels to use, class by class, in training and validation.
        labels_per_class: labels of each class to use in training, and in proportion in validation.
        on_bad_image: what to do with image files that cannot be read: "error", or "skip" and say how many.
        check_images: read every file once before training starts; without it a broken file is met only when its turn
            comes.
        predict_split: what `predict` runs on.
        **loading: batch sizes, workers and seed, see `ResumableDataModule`.
    """

    def __init__(
        self,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        normalisation: Literal["backbone", "data"] = "backbone",
        augmentation: Augmentation | nn.Module | None = None,
        label_fraction: float | None = None,
        labels_per_class: int | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        check_images: bool = True,
        predict_split: Literal["train", "validation", "test", "predict"] = "test",
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
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
        self.few_labels = FewLabels(label_fraction, labels_per_class)
        self.on_bad_image, self.check_images, self.predict_split = on_bad_image, check_images, predict_split
        self.class_names: tuple[str, ...] = ()
        self.indices: dict[str, Indices] = {}
        self.input_spec: InputSpec | None = None
        self._records: ImageRecords | None = None

    # ---------------------------------------------------------------- what subclasses change

    @abstractmethod
    def read_records(self) -> ImageRecords:
        """Find out which images there are, with labels and splits. Called once, before training."""

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """The pixels of one image: [height, width, channels]."""
        records = self.records
        if records.images is not None:
            pixels: NDArray[np.uint8] = records.images[index]
            return pixels
        if records.paths is None:
            raise NotImplementedError(f"{type(self).__name__} must override read_image: its records have no pixels")
        return read_image(records.paths[index], self.channels)

    def target(self, index: int) -> Tensor | int:
        """What is to be learned of one image: its class number, or [num_classes] of 0.0 and 1.0 for several labels."""
        return int(self.records.labels[index])

    # ---------------------------------------------------------------- what strategies, callbacks and reports ask

    @property
    def records(self) -> ImageRecords:
        """All images with their labels and splits."""
        if self._records is None:
            self._records = self.read_records()
        return self._records

    @property
    def num_classes(self) -> int:
        """Number of classes, once `setup` has run."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Bands of an input."""
        spec = self._backbone_spec() or self.input_spec
        return spec.channels if spec is not None else len(self._mean) if self._mean is not None else 3

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """Stable names of samples."""
        return [self.records.ids[int(index)] for index in indices]

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image as people look at it, not normalised: [height, width, 3]."""
        pixels = self.read_image(index)
        return pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)

    def blocks(self, indices: Sequence[int]) -> NDArray[np.int64] | None:
        """The block each sample lies in, where samples of one block resemble each other; None when independent."""
        blocks = self.records.blocks
        return None if blocks is None else blocks[np.asarray(indices, dtype=np.int64)]

    # ---------------------------------------------------------------- set-up

    def setup(self, stage: str | None = None) -> None:
        if not self.indices:
            records = self.records
            indices = {split: np.flatnonzero(records.splits == split) for split in (*SPLITS, "predict")}
            if records.images is None and self.check_images:
                indices = without_broken(self.read_image, records, indices, self.on_bad_image)
            check_classes(records, indices)
            indices["train"], indices["validation"] = self.few_labels.choose(
                indices["train"], indices["validation"], records.labels, records.class_names, self.seed
            )
            self.indices, self.class_names = indices, records.class_names
        self.input_spec = self._resolved_spec()
        self._plain, self._augmented = self._samples(self.input_spec)

    def _backbone_spec(self) -> InputSpec | None:
        module = getattr(self.trainer, "lightning_module", None)
        spec = getattr(getattr(module, "backbone", module), "input_spec", None)
        return spec if isinstance(spec, InputSpec) else None

    def _resolved_spec(self) -> InputSpec:
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
            if self.normalisation == "data":
                found = band_statistics(self.read_image, self.indices["train"], available_workers())
            elif spec is not None:
                found = spec.mean, spec.std
            else:
                raise ValueError("mean and std are not known without a backbone: set them, or normalisation='data'")
            mean, std = mean or found[0], std or found[1]
        return InputSpec(size, self.channels, tuple(mean), tuple(std))

    def _samples(self, spec: InputSpec) -> tuple[ImageSamples, ImageSamples]:
        """Samples as they are, and augmented."""
        records = self.records
        targets = torch.tensor(records.labels)
        if type(self).target is not ImageDataModule.target:
            targets = torch.stack([torch.as_tensor(self.target(index)) for index in range(len(records.ids))])
        stack = None
        if records.images is not None:
            stack = torch.from_numpy(records.images).permute(0, 3, 1, 2).contiguous()
        reader = copy.copy(self)  # what workers get where processes are spawned: without the trainer and its model
        reader.trainer = None
        common = (reader.read_image, stack, targets, spec)
        return ImageSamples(*common, Augmentation(), self.seed), ImageSamples(*common, self.augmentation, self.seed)

    # ---------------------------------------------------------------- loaders

    @property
    def _in_memory(self) -> bool:
        return self.records.images is not None

    def train_dataloader(self) -> ResumableLoader:
        return self.training_loader(self._augmented, self.indices["train"], self._in_memory)

    def val_dataloader(self) -> ResumableLoader:
        return self.evaluation_loader(self._plain, self.indices["validation"], "validation", self._in_memory)

    def test_dataloader(self) -> ResumableLoader:
        return self.evaluation_loader(self._plain, self.indices["test"], "test", self._in_memory)

    def predict_dataloader(self) -> ResumableLoader:
        split = self.predict_split
        return self.evaluation_loader(self._plain, self.indices[split], split, self._in_memory)

    def cache_size(self, split: str) -> int:
        """How many samples `cache_loader` serves over all ranks."""
        return len(self.indices[split])

    def cache_loader(self, split: str, view: int, rank: int, world_size: int) -> ResumableLoader:
        """Batches of a split in the order of their index, for keeping a frozen backbone's features.

        Args:
            view: 0 for the images as they are, 1, 2, … for that numbered augmentation of each.
            rank: this process reads every `world_size`-th sample from `rank` on.
        """
        if view < 0:
            raise ValueError(f"view must be at least 0, got {view}")
        samples = self._augmented if view else self._plain
        # Negative epochs never occur in training, so cached views are draws of their own.
        return self.ordered_loader(samples, self.indices[split], rank, world_size, -view, self._in_memory)
