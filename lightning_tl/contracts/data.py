"""What may be asked of a data module beyond its loaders: one protocol for each thing, all of them optional.

A data module answers by having the method or attribute; nothing has to be inherited. What retrieval asks stands in
`lightning_tl.retrieval.retrieval_data`, what a finished run asks in `run_description`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class ClassificationData(Protocol):
    """It knows what the outputs of a head stand for, once its `setup` has run."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        ...


@runtime_checkable
class CacheableData(Protocol):
    """Its samples can be read once, to keep a frozen backbone's features."""

    def cache_size(self, split: str) -> int:
        """How many samples `cache_loader` serves over all ranks."""
        ...

    def cache_loader(self, split: str, view: int, rank: int, world_size: int) -> Any:
        """Batches of `split` ("train" or "validation") in the same order for every view, none dropped or repeated.

        Args:
            split: "train" or "validation".
            view: 0 for the unaugmented samples, 1, 2, … for that numbered augmentation of each.
            rank: this process reads every `world_size`-th sample from `rank` on.
            world_size: number of processes.
        """
        ...


@runtime_checkable
class CroppedData(Protocol):
    """Its batches hold several crops of each image, in `inputs` and `local` (see `ImageBatch`)."""

    @property
    def crops(self) -> tuple[int, int, int]:
        """How many views, how many local crops, and the side of these in pixels of an input, once `setup` has run."""
        ...


@runtime_checkable
class NamedSamples(Protocol):
    """Its samples have names that people find them by."""

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """Those of the samples with these numbers, as a batch's `index` has them."""
        ...


@runtime_checkable
class BlockedSamples(Protocol):
    """Its samples may hang together in blocks, which intervals must draw as a whole."""

    def blocks(self, indices: Sequence[int]) -> NDArray[np.int64] | None:
        """The block of each sample; None when they are independent."""
        ...


@runtime_checkable
class NotedData(Protocol):
    """It has something to say of what it read."""

    @property
    def notes(self) -> Sequence[str]:
        """What was noticed while the data were read, for the user."""
        ...


@runtime_checkable
class CountedLabels(Protocol):
    """It can count the labels of its training samples."""

    def training_counts(self) -> tuple[Mapping[str, int], int]:
        """How many samples have each label, and how many samples there are."""
        ...


@runtime_checkable
class SeededBatches(Protocol):
    """It makes batches of a size, in an order of a seed."""

    @property
    def batch_size(self) -> int:
        """Samples in a batch, a process."""
        ...

    @property
    def seed(self) -> int:
        """Of order and draws."""
        ...


@runtime_checkable
class ShownImages(Protocol):
    """Its samples are images that people can look at."""

    def image(self, index: int) -> Any:
        """One as [height, width, 3] of 0…255."""
        ...


@runtime_checkable
class ShownTexts(Protocol):
    """Its samples are texts that people can read."""

    def sample_text(self, index: int) -> str:
        """One as it was read."""
        ...


@runtime_checkable
class DigestedImages(Protocol):
    """It knows what its images show."""

    @property
    def image_digests(self) -> Sequence[str]:
        """A digest of the pixels of each image that is trained on, in hexadecimal; empty where none were made."""
        ...


@runtime_checkable
class DigestedSplits(Protocol):
    """It knows what the images of its splits show."""

    def split_digests(self, split: str) -> Sequence[str]:
        """Of each image of a split that was looked at, as in `DigestedImages`."""
        ...


@runtime_checkable
class MaskedTokens(Protocol):
    """It masks a share of the tokens."""

    @property
    def mask_rate(self) -> float:
        """Share of the tokens that are masked."""
        ...


@runtime_checkable
class TextColumns(Protocol):
    """It reads texts from columns of a table."""

    @property
    def text(self) -> str | Sequence[str]:
        """The column, or columns, of texts."""
        ...
