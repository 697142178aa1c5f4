"""Which images have which masks: from folders `images` and `masks`, or from a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.images.loose_images import check_folder, find_images
from datamodules.labelled.labels import SPLIT_NAMES, split_names
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.tables.tables import check_columns, read_table

IMAGES, MASKS = "images", "masks"
Find = Callable[[Path], Sequence[Path]]


@dataclass
class MaskListing:
    """Images, and the mask of each.

    Args:
        ids: names of the images.
        paths: their files.
        masks: their masks' files; None where there is none.
        splits: of each; `UNDIVIDED` where nothing says.
        blocks: [n] block of each; None where nothing says.
        notes: what the user should know.
    """

    ids: list[str]
    paths: list[Path]
    masks: list[Path | None]
    splits: NDArray[np.str_]
    blocks: NDArray[np.int64] | None = None
    notes: list[str] = field(default_factory=list)


def listed_in_folders(root: Path, find: Find | None = None) -> MaskListing:
    """Images below `images`, masks of the same names below `masks`; of a split where a folder is called after it.

    Args:
        root: has `images` and `masks`, or folders of splits with them; splits may also lie below `images` and `masks`.
        find: image files below a folder.

    Raises:
        FileNotFoundError: there are no such folders.
        ValueError: there are no images, or no image has a mask.
    """
    check_folder(root, "root")
    find = find or (lambda folder: find_images(folder).paths)
    folders = (
        {UNDIVIDED: root}
        if (root / IMAGES).is_dir()
        else {
            SPLIT_NAMES[entry.name.lower()]: entry
            for entry in sorted(root.iterdir())
            if entry.is_dir() and entry.name.lower() in SPLIT_NAMES and (entry / IMAGES).is_dir()
        }
    )
    if not folders:
        raise FileNotFoundError(
            f"{root} has no folder {IMAGES}; expected {root}/{IMAGES}/<name> and {root}/{MASKS}/<name>, or "
            f"{root}/train/{IMAGES}/<name> and so on; or list the files in a table (manifest)"
        )
    rows: list[tuple[Path, Path | None, str]] = []
    alone = 0
    for split, folder in folders.items():
        masks = {_key(path, folder / MASKS): path for path in _found(folder / MASKS, find_masks)}
        taken = set()
        for path in find(folder / IMAGES):
            key = _key(path, folder / IMAGES)
            name = key if key in masks else f"{key}_mask"
            taken.add(name)
            rows.append((path, masks.get(name), _split_of(key) if split == UNDIVIDED else split))
        alone += len(masks.keys() - taken)
    if not rows:
        raise ValueError(f"there are no images in {root}/{IMAGES}")
    if all(mask is None for _, mask, _ in rows):
        raise ValueError(
            f"none of the {len(rows)} images in {root} has a mask: {root}/{MASKS} must have files of the same names, "
            f"such as {MASKS}/{rows[0][0].stem}.png"
        )
    return MaskListing(
        ids=[path.relative_to(root).as_posix() for path, _, _ in rows],
        paths=[path for path, _, _ in rows],
        masks=[mask for _, mask, _ in rows],
        splits=np.array([split for _, _, split in rows], dtype="<U10"),
        notes=[f"{alone:,} masks in {root} have no image and are left out"] if alone else [],
    )


def find_masks(folder: Path) -> Sequence[Path]:
    """Mask files below a folder."""
    return find_images(folder).paths


def _found(folder: Path, find: Find) -> Sequence[Path]:
    return find(folder) if folder.is_dir() else ()


def _key(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _split_of(key: str) -> str:
    first, _, rest = key.partition("/")
    return SPLIT_NAMES.get(first.lower(), UNDIVIDED) if rest else UNDIVIDED


@dataclass(frozen=True)
class MaskColumns:
    """Names of the columns of a table.

    Args:
        path: of the images.
        mask: of their masks; an empty cell where there is none.
        split: not needed.
        block: not needed.
    """

    path: str = "path"
    mask: str = "mask"
    split: str = "split"
    block: str = "block"


def listed_in_table(manifest: Path, root: Path, columns: MaskColumns, masked: bool = True) -> MaskListing:
    """Images and masks that a table lists.

    Args:
        manifest: the table.
        root: what its paths are relative to.
        columns: their names.
        masked: whether there must be masks.

    Raises:
        FileNotFoundError: files that are not there.
        ValueError: a column is missing, or an image is listed twice.
    """
    table = read_table(manifest)
    check_columns(table, {"path_column": columns.path, **({"mask_column": columns.mask} if masked else {})}, manifest)
    ids = [str(path) for path in table[columns.path]]
    paths = [root / path for path in ids]
    masks: list[Path | None] = [None] * len(ids)
    if masked:
        masks = [None if pd.isna(cell) or not str(cell).strip() else root / str(cell) for cell in table[columns.mask]]
    _check_files([*paths, *(mask for mask in masks if mask is not None)], manifest, root)
    twice = table[table.duplicated(columns.path)][columns.path].unique().tolist()
    if twice:
        raise ValueError(
            f"{len(twice)} images are listed more than once in {manifest}, which would mix the splits: {listed(twice)}"
        )
    splits = np.full(len(ids), UNDIVIDED, dtype="<U10")
    if columns.split in table:
        splits = split_names(table[columns.split], str(manifest)).astype("<U10")
    blocks = None
    if columns.block in table:
        blocks = pd.factorize(table[columns.block])[0].astype(np.int64)
    return MaskListing(ids, paths, masks, splits, blocks)


def _check_files(paths: Sequence[Path], manifest: Path, root: Path) -> None:
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} files in {manifest} are not there: {listed(missing)}; "
            f"paths are relative to {root} (set root to change that)"
        )
