"""`CaptionedData`: the base of every data set of images with captions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from datamodules.images.augmentation import Augmentation, PerImage
from datamodules.images.image_samples import ImageSamples
from datamodules.labelled.records import SPLITS
from datamodules.labelled.stratified import MadeSplit, check_fractions
from datamodules.loading.loading import ResumableLoader
from datamodules.loading.orders import Indices
from datamodules.loading.resumable_data import ResumableDataModule
from datamodules.pairs.caption_numbers import CaptionNumbers
from datamodules.pairs.caption_samples import CaptionedSamples
from datamodules.pairs.pair_checks import PairReader, checked_pairs, divided_pairs
from datamodules.pairs.pair_records import PairRecords
from datamodules.texts.backbone_tokens import BackboneTokens, cut_line
from datamodules.texts.text_samples import TextSamples
from datamodules.texts.text_tokens import Tokens, load_tokenizer
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.inputs.pixel_values import PixelValues


class CaptionedData(ResumableDataModule, ABC):
    """Images with captions in training, validation and perhaps test; a subclass says which, in `read_pairs`.

    An image is one sample, however many captions it has: an epoch shows it once, with one of them. Which one, its crop
    and the order are functions of (seed, epoch, index), so a run can be continued exactly. Copies of an image, by name
    or by what they show, are one image with the captions of all; a batch tells the model which captions are true of
    which of its images, so that no true one is taken for a wrong one.

    Args:
        validation_fraction: share of the images for validation, where the data do not say.
        test_fraction: share of the images for a test, where the data do not say; may be 0.
        split_seed: of that choice, by what images show; apart from `seed`.
        image_size: height and width in pixels; default the image backbone's.
        mean: per band, of values in 0…1; default the image backbone's.
        std: per band, of values in 0…1; default the image backbone's.
        augmentation: of training images, as of `ImageDataModule`; None for none.
        value_range: as of `ImageDataModule`.
        max_length: most tokens of a caption, special tokens included; default the text backbone's. Longer ones are cut.
        on_bad_image: what to do with images that are missing or cannot be read: "error", or "skip" and say how many.
        check_images: read every image once before training starts; without it a broken one is met only when its turn
            comes, and copies are known by their names alone.
        cache: folder of kept tokens; default in the cache of Hugging Face datasets (`HF_HOME`).
        batch_size: training images in a batch, for each device: the wrong captions of a pair are those of the others.
        **options: workers and seed, see `ResumableDataModule`.
    """

    source: str  # where pairs come from, for messages

    def __init__(
        self,
        validation_fraction: float = 0.05,
        test_fraction: float = 0.0,
        split_seed: int = 0,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        augmentation: Augmentation | nn.Module | None = None,
        value_range: Sequence[float] | None = None,
        max_length: int | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        check_images: bool = True,
        cache: str | Path | None = None,
        batch_size: int = 256,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        check_fractions(validation_fraction, test_fraction)
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image must be 'error' or 'skip', got '{on_bad_image}'")
        if max_length is not None and max_length < 3:
            raise ValueError(f"max_length must be at least 3 tokens (two are special), got {max_length}")
        self.validation_fraction, self.test_fraction, self.split_seed = validation_fraction, test_fraction, split_seed
        self._image_size, self._mean, self._std = image_size, mean, std
        augmentation = augmentation or Augmentation()
        self.augmentation = augmentation if isinstance(augmentation, Augmentation) else PerImage(augmentation)
        self.values, self.on_bad_image, self.check_images = PixelValues(value_range), on_bad_image, check_images
        self._tokens = BackboneTokens(type(self).__name__, max_length, None if cache is None else Path(cache))
        self._found: PairRecords | None = None
        self._records: PairRecords | None = None
        self._digests: dict[int, str] = {}
        self.input_spec: ImageSpec | None = None
        self.indices: dict[str, Indices] = {}

    # ---------------------------------------------------------------- what subclasses say

    @abstractmethod
    def read_pairs(self) -> PairRecords:
        """All images and captions, with the splits that are known, called once."""

    # ---------------------------------------------------------------- which pairs there are

    @property
    def records(self) -> PairRecords:
        """The pairs in use, once `setup` has run."""
        assert self._records is not None, "made in setup"
        return self._records

    def _read(self) -> PairRecords:
        if self._found is None:
            self._found = self.read_pairs()
            if len(self._found.ids) == 0:
                raise ValueError(f"{self.source} has no image with a caption")
        return self._found

    def _image_spec(self) -> ImageSpec:
        spec = self.conditions.input_spec
        if not isinstance(spec, ImageSpec):
            raise ValueError(
                f"{type(self).__name__} needs a backbone that reads images; {self.conditions.reader} does not"
            )
        mean, std = tuple(self._mean or spec.mean), tuple(self._std or spec.std)
        return ImageSpec(self._image_size or spec.image_size, spec.channels, mean, std)

    # ---------------------------------------------------------------- how batches are made

    def _text_conditions(self) -> Conditions:
        told = self.conditions
        if told.text_spec is None:
            raise ValueError(
                f"{type(self).__name__} has captions and needs a model that reads images and texts, such as "
                f"lightning_tl.pretraining.Clip; {told.reader} reads no texts"
            )
        return replace(told, input_spec=told.text_spec)

    def _tokenised(self) -> tuple[list[str], Tokens]:
        """The different captions, and their tokens."""
        texts = list(dict.fromkeys(text for said in self._read().captions for text in said))
        return texts, self._tokens.of(self._text_conditions(), texts, None)

    def prepare_data(self) -> None:
        """Tokenise in one process, before all ranks read what it kept."""
        _ = self._tokenised()

    def setup(self, stage: str | None = None) -> None:
        """Read the pairs, look at every image once, and tokenise the captions.

        Raises:
            ValueError: images cannot be read, or there is nothing to tell apart.
        """
        spec, text_spec = self._image_spec(), self._tokens.spec(self._text_conditions())
        if self._records is None:
            records, digests = self._read(), dict[int, str]()
            if records.images is None and self.check_images:
                reader = PairReader(records, self.values, spec.channels)
                records, digests = checked_pairs(reader, self.on_bad_image, self.source)
            how = MadeSplit(self.validation_fraction, self.test_fraction, self.split_seed)
            self._digests = digests
            self._records = records = divided_pairs(records, digests, how, self.source)
            self.indices = {split: np.flatnonzero(records.splits == split) for split in SPLITS}
            self._check_enough(records)
        self.input_spec, records = spec, self.records
        texts, tokens = self._tokenised()
        cut = {k: str(tokens.read(np.array([k]), "input_ids")[0].tolist()) for k in np.flatnonzero(tokens.cut).tolist()}
        captions = CaptionNumbers.of(records.captions, texts, cut)
        self._check_differ(captions)
        if stage == "fit" and (line := cut_line(tokens, captions.row, text_spec.max_length)):
            rank_zero_info(line.replace("texts", "captions"))
        none = torch.zeros(len(texts), dtype=torch.int64)
        words = TextSamples(tokens, none, int(load_tokenizer(text_spec).pad_token_id), text_spec.segments)
        plain, training = self._image_samples(spec)
        self._training = CaptionedSamples(training, words, captions, self.seed)
        self._whole = CaptionedSamples(plain, words, captions, self.seed, every=True)

    def _check_differ(self, captions: CaptionNumbers) -> None:
        train = captions.known[torch.from_numpy(self.indices["train"])]
        if len(set(train[train >= 0].tolist())) < 2:
            said = self.records.captions[int(self.indices["train"][0])][0]
            raise ValueError(
                f"all training images of {self.source} have the same caption, '{said[:60]}': there is nothing to tell "
                "apart"
            )

    def _check_enough(self, records: PairRecords) -> None:
        for split, word in (("train", "train on"), ("validation", "validate on")):
            if len(self.indices[split]) < (least := 2 if split == "train" else 1):
                counts = ", ".join(f"{name} {len(self.indices[name]):,}" for name in SPLITS)
                raise ValueError(
                    f"{self.source} has too few images to {word} ({counts} of {len(records.ids):,}): at least {least} "
                    "are needed, with captions"
                )

    def _image_samples(self, spec: ImageSpec) -> tuple[ImageSamples, ImageSamples]:
        """Images as they are, and augmented."""
        records, stack = self.records, None
        if records.images is not None:
            stack = torch.from_numpy(records.images).permute(0, 3, 1, 2).contiguous()
        reader = PairReader(records, self.values, spec.channels)
        none = torch.zeros(len(records.ids), dtype=torch.int64)
        plain, training = (
            ImageSamples(reader, stack, none, spec, augmentation, self.seed)
            for augmentation in (Augmentation(), self.augmentation)
        )
        return plain, training

    @property
    def in_memory(self) -> bool:
        """Whether batches are made from memory alone."""
        return self.records.images is not None

    @property
    def image_digests(self) -> list[str]:
        """See `DigestedImages`."""
        return [self._digests[k] for k in self.indices["train"].tolist() if k in self._digests]

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """See `NamedSamples`."""
        return [str(self.records.ids[int(index)]) for index in indices]

    @property
    def has_test(self) -> bool:
        """Whether there is anything to test on."""
        return len(self.indices.get("test", ())) > 0

    def train_dataloader(self) -> ResumableLoader:
        """Batches of the epoch that the Trainer is in."""
        return self.training_loader(self._training, self.indices["train"], self.in_memory)

    def val_dataloader(self) -> ResumableLoader:
        """Images of the validation split with all of their captions."""
        return self.evaluation_loader(self._whole, self.indices["validation"], "validation", self.in_memory)

    def test_dataloader(self) -> ResumableLoader:
        """Images of the test split with all of their captions."""
        return self.evaluation_loader(self._whole, self.indices["test"], "test", self.in_memory)
