"""Which images a data set of pairs has, and what is said of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.pairs.image_sources import ImageSource


@dataclass(frozen=True)
class CaptionedImage:
    """An image and its captions, as one row, file or member of a data set gives them.

    Args:
        id: a stable name; what has the same name is the same image.
        source: where its bytes are.
        captions: at least one.
        split: "train", "validation" or "test"; `UNDIVIDED` where nothing says.
    """

    id: str
    source: ImageSource
    captions: tuple[str, ...]
    split: str = UNDIVIDED


@dataclass(frozen=True)
class PairRecords:
    """One entry for each image; an image's place here is its `index` everywhere else.

    Args:
        ids: a stable name for each.
        captions: all that are said of each, different ones.
        splits: [images] of "train", "validation", "test", or `UNDIVIDED`.
        sources: where the images' bytes are; or
        images: [images, height, width, channels] uint8, all in memory.
    """

    ids: Sequence[str]
    captions: Sequence[tuple[str, ...]]
    splits: NDArray[np.str_]
    sources: Sequence[ImageSource] | None = None
    images: NDArray[np.uint8] | None = None

    def kept(self, places: NDArray[np.int64]) -> PairRecords:
        """The entries at these places."""
        chosen = places.tolist()
        return replace(
            self,
            ids=[self.ids[k] for k in chosen],
            captions=[self.captions[k] for k in chosen],
            splits=self.splits[places],
            sources=None if self.sources is None else [self.sources[k] for k in chosen],
            images=None if self.images is None else self.images[places],
        )


def records_of(found: Sequence[CaptionedImage], where: str) -> PairRecords:
    """What was found, the captions of an image that is named several times together.

    Args:
        found: in the order of the data set.
        where: the data set, for messages.

    Raises:
        ValueError: an image is in several splits.
    """
    first: dict[str, CaptionedImage] = {}
    captions: dict[str, dict[str, None]] = {}
    for each in found:
        known = first.setdefault(each.id, each)
        if known.split != each.split:
            raise ValueError(
                f"{each.id} is in {known.split} and in {each.split} in {where}: an image and all of its captions "
                "belong in one split"
            )
        captions.setdefault(each.id, {}).update(dict.fromkeys(each.captions))
    return PairRecords(
        ids=list(first),
        captions=[tuple(said) for said in captions.values()],
        splits=np.array([each.split for each in first.values()], dtype="<U10"),
        sources=[each.source for each in first.values()],
    )


def joined_by_content(records: PairRecords, digests: Mapping[int, str]) -> tuple[PairRecords, list[int], list[str]]:
    """Images of one split that show the same become one, with the captions of all.

    Else the captions of a copy would be taken for wrong ones.

    Args:
        records: of all images.
        digests: hash of an image's pixels, by its place; without one an image is like no other.

    Returns:
        the images, the place that each had before, and what to tell of it.
    """
    first: dict[tuple[str, str], int] = {}
    into: dict[int, list[int]] = {}
    splits_of: dict[str, set[str]] = {}
    for place, split in enumerate(records.splits.tolist()):
        shown = digests.get(place, f"place {place}")
        splits_of.setdefault(shown, set()).add(split)
        into.setdefault(first.setdefault((shown, split), place), []).append(place)
    notes = []
    if copies := len(records.ids) - len(into):
        same = [records.ids[k] for k in next(members for members in into.values() if len(members) > 1)]
        notes.append(f"{copies:,} images are copies of others, such as {listed(same)}: their captions are put together")
    if apart := sum(len(splits) > 1 for splits in splits_of.values()):
        notes.append(f"{apart:,} images have identical copies in other splits, which scores on these profit from")
    if not copies:
        return records, list(into), notes
    joined = records.kept(np.array(list(into), dtype=np.int64))
    said = [tuple(dict.fromkeys(text for k in members for text in records.captions[k])) for members in into.values()]
    return replace(joined, captions=said), list(into), notes
