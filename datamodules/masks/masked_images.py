"""`MaskedImages`: what makes an image data module one of images with a class for each pixel."""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.images.augmentation import Augmentation
from datamodules.images.image_data import ImageDataModule
from datamodules.images.image_records import ImageRecords
from datamodules.labelled.records import SPLITS, Records, listed
from datamodules.masks.mask_files import image_frame, read_mask
from datamodules.masks.mask_records import MaskRecords
from datamodules.masks.mask_source import MaskSource
from datamodules.masks.masked_samples import MaskedSamples
from lightning_tl.contracts.batches import IGNORED, ImageSpec
from lightning_tl.contracts.mask_legend import MaskLegend
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.tasks import PixelLabels, Task

if TYPE_CHECKING:
    from datamodules.loading.orders import Indices


class MaskedImages(ImageDataModule, ABC):
    """Images with masks, in training, validation and test; base of the data modules with a class for each pixel.

    Image and mask are moved alike by the augmentation, brought to the model's size (the mask by taking the nearest
    pixel's class), and filled up to a square where they are none, which counts nowhere.

    A constructor calls `begin_masks` at its end.
    """

    mask_source: MaskSource
    _legend: MaskLegend | None = None

    def begin_masks(self, masks: MaskSource) -> None:
        """Keep which images there are and what their masks mean.

        Raises:
            ValueError: the augmentation says nothing of masks.
        """
        self.augmentation.check_moves_masks()
        self.mask_source = masks

    # ---------------------------------------------------------------- which samples there are

    @property
    def source(self) -> str:
        """Where the samples come from, for messages."""
        return self.mask_source.where

    def frame_of(self, path: Path) -> tuple[int, int]:
        """Height and width of an image file in pixels."""
        return image_frame(path)

    def apart(self, mask: Path, image: Path) -> str:
        """What is wrong with the places of a mask and its image; an empty text for nothing, as where they have none."""
        return ""

    def find(self, folder: Path) -> Sequence[Path]:
        """Image files below a folder."""
        return self.mask_source.find_images(folder)

    def read_records(self) -> MaskRecords:
        """See `ClassificationDataModule`; every mask is read once."""
        found = self.mask_source.read(self.run, self.whole, self.find, self.frame_of, self.apart)
        self._legend, self.made_split = found.legend, found.made_split
        self.notes += found.notes
        self.dropped |= found.dropped
        return found.records

    def read_unlabelled(self) -> MaskRecords:
        """See `ClassificationDataModule`: masks are not asked for."""
        return self.mask_source.read_unmasked(self.find)

    def more_fields(self, records: ImageRecords, more: ImageRecords) -> dict[str, Any]:
        """See `ImageDataModule`."""
        if not isinstance(records, MaskRecords):
            return {}
        none = [None] * len(more.ids)
        pixels = np.zeros((len(none), records.pixels.shape[1]), np.int64)
        return {
            "masks": [*records.masks, *none],
            "frames": [*records.frames, *none],
            "pixels": np.concatenate([records.pixels, pixels]),
        }

    def check_records(self, records: Records, indices: dict[str, Indices]) -> None:
        """See `ClassificationDataModule`: classes may be missing from a split, which is told."""
        for split, word in (("train", "train on"), ("validation", "validate on")):
            if len(indices[split]) == 0:
                raise ValueError(f"{self.source} has no images with masks to {word}")
        for split in SPLITS:
            counts = records.counts(indices[split])
            missing = [name for name in records.class_names if not counts[name]]
            if missing and len(indices[split]):
                self.notes.append(f"{split} has no pixel of {listed(missing)}, so nothing of it is known there")

    def read_for(self, run: RunDescription, whole: bool = False) -> None:
        """See `DataOfARun`."""
        super().read_for(run, whole)
        self._legend = None

    # ---------------------------------------------------------------- what strategies, callbacks and reports ask

    @property
    def task(self) -> Task | None:
        """A class for each pixel."""
        return PixelLabels()

    @property
    def legend(self) -> MaskLegend:
        """What the numbers in masks mean, once `setup` has run; of a finished run, its own."""
        if self._legend is not None:
            return self._legend
        told = {} if self.run is None else self.run.columns
        if "legend" not in told:
            raise ValueError(f"{self.source}: no masks were read, so it is not known which classes there are")
        return MaskLegend.from_json(told["legend"])

    def training_counts(self) -> tuple[dict[str, int], int]:
        """How many training pixels each class has, and how many there are."""
        records, train = self.records, self.indices["train"]
        if not isinstance(records, MaskRecords) or not len(train):
            return {}, 0
        counts = records.pixels[train].sum(0)
        return dict(zip(records.class_names, counts.tolist(), strict=True)), int(counts.sum())

    def image_path(self, index: int) -> Path | None:
        """The file of an image; None where it has none."""
        paths = self.records.paths
        return None if paths is None else paths[index]

    def frame(self, index: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        path = self.image_path(index)
        if path is None:
            height, width = self.read_image(index).shape[:2]
            return int(height), int(width)
        return self.frame_of(path)

    def mask(self, index: int) -> NDArray[np.int64]:
        """The true classes of an image's pixels, `IGNORED` where not known: [height, width]."""
        path = self.records.masks[index] if isinstance(self.records, MaskRecords) else None
        if path is None:
            return np.full(self.frame(index), IGNORED, np.int64)
        try:
            return self.legend.classes(read_mask(path))
        except (ValueError, OSError, IndexError) as error:
            raise OSError(f"{path} cannot be read: {error}") from error

    def described_columns(self) -> dict[str, Any]:
        """See `ClassificationDataModule`; with the legend of the masks."""
        return {**self.mask_source.described(), "legend": self.legend.to_json()}

    # ---------------------------------------------------------------- set-up

    def _samples(self, spec: ImageSpec) -> tuple[Any, Any]:
        """Images with masks as they are, and augmented."""
        self._tell_of_sizes(spec.image_size)
        reader = copy.copy(self)  # what workers get where processes are spawned: without the trainer and its model
        reader.trainer = None
        plain, training = (
            MaskedSamples(reader.pixels, reader.mask, spec, augmentation, self.seed)
            for augmentation in (Augmentation(), self.augmentation)
        )
        return plain, training

    def _tell_of_sizes(self, side: int) -> None:
        frames = self.records.frames if isinstance(self.records, MaskRecords) else ()
        sizes = sorted({frame for frame in frames if frame not in (None, (side, side))})
        if sizes:
            shown = listed([f"{height} x {width}" for height, width in sizes], 3)
            self.notes.append(
                f"images of {shown} pixels are read, learned and scored at {side} x {side}; masks of predictions have "
                "the size of their image"
            )
