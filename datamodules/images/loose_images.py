"""Images in a folder, whatever the folders in it are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datamodules.images.image_records import ImageRecords
from lightning_tl.inputs.image_files import is_image


@dataclass
class FoundImages:
    """Image files below a folder, and what else lies there.

    Args:
        paths: sorted by folder and name.
        left_out: how many other files there are, by their endings.
        repeated: links to folders that were met before, or that lie above.
    """

    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    repeated: list[Path] = field(default_factory=list)


Finder = Callable[..., FoundImages]  # of a folder, and `deep`: what the samples below it are


def find_images(folder: Path, deep: bool = True) -> FoundImages:
    """All image files below a folder, each real folder once; hidden ones, and links that lead upwards, are left out.

    Args:
        folder: the one to look through.
        deep: also those in its subfolders.
    """
    found, seen = FoundImages(), {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders) if deep else []:
            real = os.path.realpath(os.path.join(parent, name))
            if name.startswith("."):
                continue
            if real in seen or leads_back(Path(parent) / name):
                found.repeated.append(Path(parent) / name)
                continue
            seen.add(real)
            kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            if name.startswith("."):
                found.left_out["hidden"] += 1
            elif is_image(name):
                found.paths.append(Path(parent) / name)
            else:
                found.left_out[Path(name).suffix.lower() or "without an ending"] += 1
    return found


def leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in: what is there belongs to others, too."""
    return Path(os.path.realpath(folder.parent)).is_relative_to(os.path.realpath(folder))


def left_out_note(left_out: Counter[str], repeated: list[Path]) -> list[str]:
    """A line for files that are no images, and one for links that lead back; none where there are none."""
    notes = []
    if left_out:
        listed = ", ".join(f"{count:,} {ending}" for ending, count in left_out.most_common(8))
        notes.append(f"{sum(left_out.values()):,} files that are no images are left out: {listed}")
    if repeated:
        notes.append(f"{len(repeated):,} links lead back to folders that are read already, such as {repeated[0]}")
    return notes


def read_loose_images(
    folder: Path, name: str, empty: bool = False, notes: list[str] | None = None, find: Finder = find_images
) -> ImageRecords:
    """Every image below a folder, without labels, to be predicted.

    Args:
        folder: the one to look through, with its subfolders.
        name: of the option that names the folder, for messages.
        empty: whether there may be none.
        notes: where to add what is left out.
        find: what the samples below a folder are.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are no images in it.
    """
    check_folder(folder, name)
    found = find(folder)
    if not found.paths and not empty:
        raise ValueError(f"no images in {name} {folder}, in files whose names end as Pillow knows them (.jpg, .png, …)")
    if notes is not None:
        notes += left_out_note(found.left_out, found.repeated)
    return ImageRecords(
        ids=[path.relative_to(folder).as_posix() for path in found.paths],
        labels=np.full(len(found.paths), -1, dtype=np.int64),
        splits=np.full(len(found.paths), "predict"),
        class_names=(),
        paths=found.paths,
    )


def check_folder(folder: Path, name: str) -> None:
    """Refuse what is no folder.

    Args:
        folder: where a folder should be.
        name: of the option that names it.

    Raises:
        FileNotFoundError: naming both.
    """
    if not folder.is_dir():
        problem = f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
        raise FileNotFoundError(f"{name}: {problem}")
