"""One look at every image file before training: which cannot be read, which are equal, and what values they have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from tqdm.auto import tqdm

from datamodules.images.image_records import ImageRecords
from datamodules.labelled.records import listed
from datamodules.loading.loading import available_workers
from lightning_tl.contracts.notice import Notice
from lightning_tl.contracts.seen_images import SEEN, count_seen
from lightning_tl.inputs.pixel_values import little_range
from lightning_tl.inputs.tiff_files import UnfitImageError

_PROGRESS_FROM = 2000  # files; fewer are checked in a moment
Splits = dict[str, NDArray[np.int64]]


@dataclass
class ImageChecks:
    """What a look at images found.

    Args:
        digests: hash of the pixels by index, of those that can be read.
        broken: why an image cannot be read, by index.
        unfit: those of them that are sound and hold something else than is asked for.
        deep: lowest and highest value of all images of more than 8 bits, integers (by "i") and floats (by "f") apart.
        noted: what else was noted of an image that can be read, by index.
    """

    digests: dict[int, str] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    unfit: set[int] = field(default_factory=set)
    deep: dict[str, tuple[float, float]] = field(default_factory=dict)
    noted: dict[int, Any] = field(default_factory=dict)

    def joined(self, other: ImageChecks) -> ImageChecks:
        """With what another process found."""
        deep = _widest([self.deep, other.deep])
        digests, broken = self.digests | other.digests, self.broken | other.broken
        return ImageChecks(digests, broken, self.unfit | other.unfit, deep, self.noted | other.noted)


def check_images(
    read: Callable[[int], NDArray[np.generic]],
    use: Callable[[NDArray[np.generic]], object],
    wanted: Sequence[int],
    progress: bool = True,
    note: Callable[[int], Any] | None = None,
) -> ImageChecks:
    """Read every image once, shared among the processes of a run.

    Args:
        read: the stored values of an index; called from several threads (Pillow decodes outside Python's lock).
        use: raises where these values are not what is wanted.
        wanted: indices of the images to read, the same in every process.
        progress: whether to show how far it is.
        note: called for an index after `read` and `use`; what it returns is kept in `noted`.
    """
    together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
    found = _checked(read, use, list(wanted)[rank::world_size], progress and rank == 0, note)
    if together:
        parts: list[ImageChecks] = [ImageChecks() for _ in range(world_size)]
        dist.all_gather_object(parts, found)
        found = ImageChecks()
        for part in parts:
            found = found.joined(part)
    return found


def _checked(
    read: Callable[[int], NDArray[np.generic]],
    use: Callable[[NDArray[np.generic]], object],
    wanted: list[int],
    progress: bool,
    note: Callable[[int], Any] | None,
) -> ImageChecks:
    def one(index: int) -> ImageChecks:
        try:
            values = np.asarray(read(index))
            use(values)
        except Exception as error:  # decoders raise many types: OSError, SyntaxError, ValueError, struct.error …
            unfit = {index} if isinstance(error, UnfitImageError) else set()
            return ImageChecks(broken={index: str(error) or type(error).__name__}, unfit=unfit)
        kind = "f" if values.dtype.kind == "f" else "i"
        deep = {} if values.dtype == np.uint8 else {kind: (float(values.min()), float(values.max()))}
        digest = hashlib.blake2b(f"{values.shape} {values.dtype}".encode(), digest_size=16)
        digest.update(np.ascontiguousarray(values).data)
        noted = {} if note is None else {index: note(index)}
        return ImageChecks(digests={index: digest.hexdigest()}, deep=deep, noted=noted)

    found = ImageChecks()
    with ThreadPoolExecutor(max(1, available_workers())) as pool:
        hidden = not progress or len(wanted) < _PROGRESS_FROM
        bar = tqdm(pool.map(one, wanted), total=len(wanted), desc="Checking images", unit=" images", disable=hidden)
        deep: list[dict[str, tuple[float, float]]] = []
        for part in bar:
            found.digests |= part.digests
            found.broken |= part.broken
            found.unfit |= part.unfit
            found.noted |= part.noted
            deep.append(part.deep)
    found.deep = _widest(deep)
    return found


def _widest(ranges: Sequence[Mapping[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """From the lowest to the highest value, by the kind of numbers."""
    found: dict[str, tuple[float, float]] = {}
    for each in ranges:
        for kind, (low, high) in each.items():
            lowest, highest = found.get(kind, (low, high))
            found[kind] = min(lowest, low), max(highest, high)
    return found


def little_ranges(checks: ImageChecks, value_range: tuple[float, float] | None) -> list[str]:
    """What to tell of images of more than 8 bits that use little of their range."""
    told = [little_range(kind, low, high, value_range) for kind, (low, high) in sorted(checks.deep.items())]
    return [each for each in told if each]


def seen_note(checks: ImageChecks, test: NDArray[np.int64], weights: Path | None) -> list[str]:
    """What to tell where weights were pretrained on images of the test.

    Args:
        checks: with the digests of the images.
        test: numbers of the images to test on.
        weights: folder of the weights; None for none.
    """
    digests = [checks.digests[k] for k in test.tolist() if k in checks.digests]
    found = count_seen(weights, digests) if weights is not None and digests else None
    return [f"{SEEN}{found:,} of {len(digests):,} test images are among those of {weights}"] if found else []


def without_broken(checks: ImageChecks, records: ImageRecords, indices: Splits, on_bad_image: str) -> Splits:
    """Leave out the images that cannot be read, or refuse to start.

    Args:
        checks: what was found when the images were read.
        records: all images, for the names of their files.
        indices: the images of each split.
        on_bad_image: "error", or "skip" to go on without them and say how many and which.

    Raises:
        ValueError: naming the files and why they cannot be read.
    """
    wanted = np.sort(np.concatenate(list(indices.values())))
    broken = {index: checks.broken[index] for index in wanted.tolist() if index in checks.broken}
    if not broken:
        return indices
    places = {index: _place(records, index) for index in broken}
    files = [w if w.startswith(places[k]) else f"{places[k]} ({w})" for k, w in sorted(broken.items())]
    if on_bad_image == "error":
        if set(broken) <= checks.unfit:  # sound files: what is wrong comes first
            first = min(broken)
            count = f"({len(broken)} of {len(wanted)} images, such as {_place(records, first)})"
            raise ValueError(f"{broken[first]} {count}")
        raise ValueError(
            f"{len(broken)} of {len(wanted)} images cannot be read: {listed(files)}. "
            "Repair or remove them, or set on_bad_image: skip"
        )
    rank_zero_warn(
        f"skipped {len(broken)} of {len(wanted)} images that cannot be read: {listed(files)}", category=Notice
    )
    bad = np.array(sorted(broken), dtype=np.int64)
    return {split: members[~np.isin(members, bad)] for split, members in indices.items()}


def _place(records: ImageRecords, index: int) -> str:
    return str(records.paths[index]) if records.paths is not None else records.ids[index]
