"""`ItemThumbnails`: what people are shown of items, made of the pictures of a run's data."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lightning_tl.contracts.notice import Notice
from lightning_tl.inputs.thumbnail import SIDE, thumbnail
from lightning_tl.reports.progress import progress_bar
from lightning_tl.retrieval.retrieval_data import ReadablePictures
from lightning_tl.serving.models.thumbnails import FILE, write_thumbnails

_THREADS, _AT_ONCE = 4, 256
_WORTH_TELLING = 1_000


class ItemThumbnails(Mapping[str, bytes]):
    """By an item's id a small image file, made when it is asked for; there is none of what cannot be read.

    Args:
        pictures: of the items.
        ids: [items].
        offered: ids of those that may be shown; None for all.

    Attributes:
        unreadable: by id, what is wrong with pictures that were asked for and cannot be read.
    """

    def __init__(self, pictures: ReadablePictures, ids: Sequence[str], offered: Collection[str] | None = None) -> None:
        self._pictures = pictures
        known = np.flatnonzero(pictures.known).tolist()
        self._rows = {ids[row]: row for row in known if offered is None or ids[row] in offered}
        self.unreadable: dict[str, str] = {}

    def __getitem__(self, item: str) -> bytes:
        try:
            return thumbnail(self._pictures.pixels(self._rows[item]))
        except (ValueError, OSError) as error:
            self.unreadable[item] = str(error)
            raise KeyError(item) from error

    def __contains__(self, item: object) -> bool:
        return item in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def tell_unreadable(self) -> None:
        """Warn of those that were asked for and cannot be read, if there are any."""
        if lost := self.unreadable:
            warnings.warn(
                f"{len(lost):,} of {len(self):,} items are shown without a picture, as theirs cannot be read; the "
                f"first: {next(iter(lost.values()))}",
                category=Notice,
                stacklevel=2,
            )


def thumbnails_of(data: Any, offered: Collection[str] | None = None) -> ItemThumbnails | None:
    """Those of a run's data; None where its items have no pictures that can be read as they are.

    Args:
        data: the run's event log.
        offered: ids of the items that may be shown; None for all.
    """
    pictures = data.item_pictures
    if pictures is None:
        return None
    if not isinstance(pictures, ReadablePictures):
        warnings.warn(
            f"items are shown without pictures: {type(pictures).__name__} has no method pixels(item) that gives one as "
            "it is (ReadablePictures)",
            category=Notice,
            stacklevel=2,
        )
        return None
    return ItemThumbnails(pictures, data.log.item_ids, offered)


def write_item_thumbnails(folder: Path, thumbnails: ItemThumbnails) -> dict[str, Any]:
    """Write `thumbnails.arrow`, and tell what it holds, as JSON values.

    Args:
        folder: of the bundle.
        thumbnails: of the items that are offered.
    """
    count = write_thumbnails(folder, _made(thumbnails))
    thumbnails.tell_unreadable()
    facts = {"items": count, "side": SIDE, "bytes": (folder / FILE).stat().st_size}
    return {**facts, "unreadable": len(thumbnails.unreadable)}


def _made(thumbnails: ItemThumbnails) -> Iterator[tuple[str, bytes]]:
    """Ids and image files, of those that can be read, in their order."""
    names = iter(thumbnails)
    told = f"Writing small pictures of {len(thumbnails):,} items"
    bar = progress_bar(len(thumbnails), "Pictures", "items", len(thumbnails) >= _WORTH_TELLING, told)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(names, _AT_ONCE)):
            for name, made in zip(some, pool.map(thumbnails.get, some), strict=True):
                if made is not None:
                    yield name, made
            bar.update(len(some))
    bar.close()
