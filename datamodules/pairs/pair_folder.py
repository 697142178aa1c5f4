"""Pairs from a folder: `name.txt` beside `name.jpg`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from datamodules.images.loose_images import check_folder, find_images
from datamodules.labelled.labels import SPLIT_NAMES
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.pairs.blank_captions import is_blank
from datamodules.pairs.pair_records import CaptionedImage
from datamodules.pairs.pair_table import OnBad, tell_of_empty
from lightning_tl.contracts.notice import Notice

ENDING = ".txt"


def folder_pairs(folder: Path, on_empty_caption: OnBad) -> list[CaptionedImage]:
    """Every image below a folder that has a text of its name beside it, one caption a line.

    Where all images lie in folders called `train`, `validation` and `test` (or as people call them), these are the
    splits.

    Args:
        folder: with images at any depth.
        on_empty_caption: what to do with images without a text, or with an empty one.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are no images in it, images have no caption, or a text is not UTF-8.
    """
    check_folder(folder, "path")
    paths = find_images(folder).paths
    if not paths:
        raise ValueError(f"no images in path {folder}, with texts beside them ({ENDING}); or name a table of pairs")
    names = [path.relative_to(folder) for path in paths]
    firsts = [name.parts[0].lower() if len(name.parts) > 1 else "" for name in names]
    divided = all(first in SPLIT_NAMES for first in firsts)
    found, empty = [], []
    for path, name, first in zip(paths, names, firsts, strict=True):
        captions = lines_of(path.with_suffix(ENDING))
        if not captions:
            empty.append(name.as_posix())
            continue
        found.append(CaptionedImage(name.as_posix(), path, captions, SPLIT_NAMES[first] if divided else UNDIVIDED))
    _tell_of_alone(paths, folder)
    what = f"{len(empty):,} of {len(paths):,} images in {folder}"
    tell_of_empty(len(empty), what, f"a {ENDING} file of the same name beside them", listed(empty), on_empty_caption)
    return found


def _tell_of_alone(paths: Sequence[Path], folder: Path) -> None:
    """Name the texts without an image, which may be captions of lost images, or no captions at all."""
    beside = {path.with_suffix(ENDING) for path in paths}
    texts = [path for parent in sorted({path.parent for path in paths}) for path in sorted(parent.glob(f"*{ENDING}"))]
    if alone := [path.relative_to(folder).as_posix() for path in texts if path not in beside]:
        rank_zero_warn(
            f"{len(alone):,} texts in {folder} have no image of the same name beside them and are left out: "
            f"{listed(alone)}",
            category=Notice,
        )


def lines_of(path: Path) -> tuple[str, ...]:
    """The lines of a text file that are not blank; none where there is no file.

    Raises:
        ValueError: it is not UTF-8.
    """
    if not path.is_file():
        return ()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start:,}): convert it") from None
    return tuple(line.strip() for line in text.splitlines() if not is_blank(line))
