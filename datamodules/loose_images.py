"""Images in a folder, whatever the folders in it are called."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from datamodules.image_files import EXTENSIONS
from datamodules.image_records import ImageRecords


def read_loose_images(folder: Path, name: str, empty: bool = False) -> ImageRecords:
    """Every image below a folder, without labels, to be predicted.

    Args:
        name: of the option that names the folder, for messages.
        empty: whether there may be none.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are no images in it.
    """
    check_folder(folder, name)
    paths = image_files(folder)
    if not paths and not empty:
        raise ValueError(f"no images in {name} {folder}, with files named {', '.join(EXTENSIONS)}")
    return ImageRecords(
        ids=[path.relative_to(folder).as_posix() for path in paths],
        labels=np.full(len(paths), -1, dtype=np.int64),
        splits=np.full(len(paths), "predict"),
        class_names=(),
        paths=paths,
    )


def image_files(folder: Path) -> list[Path]:
    """All image files below a folder, sorted; hidden ones are left out."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent) / name
            for name in sorted(files)
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        ]
    return found


def check_folder(folder: Path, name: str) -> None:
    """Refuse what is no folder.

    Args:
        name: of the option that names it.

    Raises:
        FileNotFoundError: naming both.
    """
    if not folder.is_dir():
        problem = f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
        raise FileNotFoundError(f"{name}: {problem}")
