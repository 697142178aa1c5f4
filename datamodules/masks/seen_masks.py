"""One look at every mask before training: which numbers it has, and whether it is as large as its image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.labelled.records import listed
from datamodules.loading.loading import available_workers
from datamodules.masks.mask_files import read_mask
from lightning_tl.contracts.mask_legend import MaskLegend


@dataclass(frozen=True)
class SeenMask:
    """What a look at a mask found.

    Args:
        pixels: how many it has of each number.
        frame: its height and width in pixels.
    """

    pixels: dict[int, int]
    frame: tuple[int, int]


def look_at_masks(
    masks: Sequence[Path],
    images: Sequence[Path],
    frame: Callable[[Path], tuple[int, int]],
    apart: Callable[[Path, Path], str] | None = None,
) -> list[SeenMask]:
    """Read every mask once.

    Args:
        masks: their files.
        images: of the same samples.
        frame: height and width of an image's file.
        apart: what is wrong with the places of a mask and its image; an empty text for nothing. None where files have
            no place.

    Raises:
        OSError: masks that cannot be read, or are of another size than their image, naming them.
    """

    def look(pair: tuple[Path, Path]) -> SeenMask | str:
        mask, image = pair
        try:
            values = read_mask(mask)
        except (OSError, ValueError) as error:
            return f"{mask} ({error})"
        try:
            own = frame(image)
        except (OSError, ValueError):
            own = values.shape[0], values.shape[1]  # told where images are read
        if own != values.shape:
            sizes = [f"{height} x {width}" for height, width in (values.shape, own)]
            return f"{mask} is {sizes[0]} pixels, and its image {image.name} {sizes[1]}"
        try:
            told = "" if apart is None else apart(mask, image)
        except (OSError, ValueError):
            told = ""  # of an image that cannot be read, which is told where images are read
        if told:
            return f"{mask} {told}"
        numbers, counts = np.unique(values, return_counts=True)
        pixels = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        return SeenMask(pixels, (values.shape[0], values.shape[1]))

    with ThreadPoolExecutor(max(1, available_workers())) as pool:
        found = list(pool.map(look, zip(masks, images, strict=True)))
    if wrong := [seen for seen in found if isinstance(seen, str)]:
        raise OSError(f"{len(wrong)} of {len(masks)} masks cannot be used: {listed(wrong, 3)}")
    return [seen for seen in found if isinstance(seen, SeenMask)]


def check_numbers(legend: MaskLegend, seen: Sequence[SeenMask], masks: Sequence[Path], where: str) -> None:
    """Refuse numbers that are neither a class nor ignored.

    Args:
        legend: what is known.
        seen: of each mask.
        masks: their files.
        where: what says which classes there are, for the message.

    Raises:
        ValueError: naming the numbers, their pixels and a file.
    """
    total: Counter[int] = Counter()
    for each in seen:
        total.update(each.pixels)
    wrong = legend.unknown(sorted(total))
    if not wrong:
        return
    file = next(path for path, each in zip(masks, seen, strict=True) if set(wrong) & each.pixels.keys())
    counts = listed([f"{number} ({total[number]:,} pixels)" for number in wrong])
    known = listed([f"{n} {name}" for n, name in zip(legend.numbers, legend.names, strict=True)], 20)
    left = f"{', '.join(map(str, legend.ignored))} is ignored" if legend.ignored else "no number is ignored"
    raise ValueError(
        f"masks have numbers that are no class of {where}: {counts}, as in {file}. The classes are {known}; {left}. "
        "Name them, or list them in ignored"
    )
