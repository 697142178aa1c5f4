"""One look at every image of the pairs before training, and the split by what images show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from datamodules.images.image_checks import check_images
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.labelled.stratified import MadeSplit, stratified_split
from datamodules.pairs.image_sources import source_pixels
from datamodules.pairs.pair_records import PairRecords, joined_by_content
from lightning_tl.contracts.notice import Notice
from lightning_tl.inputs.pixel_values import Pixels, PixelValues


class PairReader:
    """Reads images of pairs by their places; it goes along into other processes without a data module.

    Args:
        records: whose images they are.
        values: what pixels mean.
        channels: bands of the result.
    """

    def __init__(self, records: PairRecords, values: PixelValues, channels: int) -> None:
        self.records, self.values, self.channels = records, values, channels

    def stored(self, index: int) -> NDArray[Any]:
        """Values as the file has them: [height, width, channels]."""
        assert self.records.sources is not None
        return source_pixels(self.records.sources[index], self.channels)

    def __call__(self, index: int) -> Pixels:
        """[height, width, channels], uint8, or float32 in 0…1.

        Raises:
            OSError: it cannot be read.
        """
        if self.records.images is not None:
            pixels: NDArray[np.uint8] = self.records.images[index]
            return pixels
        try:
            return self.values(self.stored(index), self.channels)
        except Exception as error:  # decoders raise many types: OSError, SyntaxError, ValueError, struct.error …
            raise OSError(f"{self.records.ids[index]} cannot be read: {error or type(error).__name__}") from error


def checked_pairs(
    reader: PairReader, on_bad_image: Literal["error", "skip"], source: str
) -> tuple[PairRecords, dict[int, str]]:
    """The pairs whose images can be read, copies joined, and a hash of each image's pixels by its place.

    Args:
        reader: of all pairs.
        on_bad_image: what to do with images that cannot be read.
        source: the data set, for messages.

    Raises:
        ValueError: images cannot be read, and are not to be skipped.
    """
    records = reader.records
    everything = range(len(records.ids))
    found = check_images(reader.stored, lambda values: reader.values(values, reader.channels), everything)
    if bad := sorted(found.broken):
        named = listed([f"{records.ids[k]} ({found.broken[k]})" for k in bad])
        told = f"{len(bad):,} of {len(records.ids):,} images of {source} cannot be read: {named}"
        if on_bad_image == "error":
            raise ValueError(f"{told}. Repair or remove them, or set on_bad_image: skip")
        rank_zero_warn(f"{told}; they are left out", category=Notice)
    good = [k for k in everything if k not in found.broken]
    digests = {place: found.digests[k] for place, k in enumerate(good)}
    joined, kept, notes = joined_by_content(records.kept(np.array(good, dtype=np.int64)), digests)
    for note in notes:
        rank_zero_warn(f"{source}: {note}", category=Notice)
    return joined, {place: digests[k] for place, k in enumerate(kept)}


def divided_pairs(records: PairRecords, digests: Mapping[int, str], how: MadeSplit, source: str) -> PairRecords:
    """Put images that are in no split into one, by what they show; validation is taken from training.

    Args:
        records: of all images.
        digests: hash of an image's pixels by its place; where there is none, its name counts.
        how: the shares, and the seed.
        source: the data set, for messages.

    Raises:
        ValueError: there are too few.
    """
    splits, test = records.splits.astype("<U10"), how.test_fraction
    if not np.isin(splits, (UNDIVIDED, "validation")).any():
        splits[splits == "train"], test = UNDIVIDED, 0.0
    free = np.flatnonzero(splits == UNDIVIDED).tolist()
    if not free:
        return records
    least = 3 if test else 2
    if len(free) < least:
        raise ValueError(
            f"{source} has {len(free)} image{'' if len(free) == 1 else 's'} with a caption to part into training"
            f"{', validation and test' if test else ' and validation'}: at least {least} are needed"
        )
    ids = [records.ids[k] for k in free]
    keys = [digests.get(k, records.ids[k]) for k in free]
    shares = how.validation_fraction, test, how.seed
    splits[free] = stratified_split(ids, np.zeros(len(free), np.int64), ["image"], *shares, keys=keys)
    return replace(records, splits=splits)
