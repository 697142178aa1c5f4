"""Which images there are to pretrain on: none of a split for validation or test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.images.image_records import ImageRecords
from datamodules.images.loose_images import Finder, find_images, read_loose_images
from datamodules.labelled.labels import SPLIT_NAMES, split_names
from datamodules.labelled.records import listed
from datamodules.tables.tables import check_columns, read_table

SPLIT = "split"
Dropped = dict[str, int]


def images_of_folder(root: Path, notes: list[str], dropped: Dropped, find: Finder = find_images) -> ImageRecords:
    """Every image below a folder, at any depth, but those in folders that are called validation or test.

    Args:
        root: the folder.
        notes: where to add what is left out.
        dropped: where to count it, by reason.
        find: what the samples below a folder are.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are no images in it, or none outside folders of validation and test.
    """
    records = read_loose_images(root, "root", notes=notes, find=find)
    assert records.paths is not None
    called = [_held_out(path.relative_to(root)) for path in records.paths]
    kept = [k for k, name in enumerate(called) if name is None]
    names = sorted({name for name in called if name is not None})
    if not kept:
        raise ValueError(
            f"all {len(called):,} images of root {root} lie in folders called {listed(names)}, which pretraining "
            "leaves out: add others, or name that folder itself as root"
        )
    if names:
        count = len(called) - len(kept)
        dropped["images in folders of validation or test"] = count
        notes.append(f"{count:,} images of {root} are left out, as they lie in folders called {listed(names)}")
    return _chosen(records, kept)


def _held_out(path: Path) -> str | None:
    """The first folder of a path that is called validation or test."""
    return next((part for part in path.parts[:-1] if SPLIT_NAMES.get(part.lower(), "train") != "train"), None)


def images_of_table(
    manifest: Path,
    root: Path | None,
    path_column: str,
    split_column: str,
    notes: list[str],
    dropped: Dropped,
    is_sample: Callable[[Path], bool] = Path.is_file,
    skip: bool = False,
) -> ImageRecords:
    """The images that a table lists, but rows whose split is validation or test; one listed twice counts once.

    Args:
        manifest: the table.
        root: folder that paths are relative to; None for the table's.
        path_column: of paths.
        split_column: of splits; one called "split" may be missing.
        notes: where to add what is left out.
        dropped: where to count it, by reason.
        is_sample: whether a path leads to an image.
        skip: whether files that are not there are left out.

    Raises:
        FileNotFoundError: there is no such table, or files that it lists are not there: some, or with `skip` all.
        ValueError: it lacks a column, or has no rows to train on.
    """
    table, folder = read_table(manifest), manifest.parent if root is None else root
    wanted = {"path_column": path_column} | ({} if split_column == SPLIT else {"split_column": split_column})
    check_columns(table, wanted, manifest)
    if split_column in table:
        training = split_names(table[split_column], str(manifest)) == "train"
        if count := int((~training).sum()):
            dropped["rows of validation or test"] = count
            notes.append(f"{count:,} rows of {manifest} are left out, as their {split_column} is validation or test")
        twice = table[path_column].isin(table[path_column][~training]).to_numpy()  # an image of both is held out
        table = table[training & ~twice]
        if len(table) == 0:
            raise ValueError(f"{manifest} has no rows to train on: column '{split_column}' marks no image as train")
    ids = list(dict.fromkeys(str(path) for path in table[path_column]))
    if count := len(table) - len(ids):
        notes.append(f"{count:,} rows of {manifest} list an image again: it counts once")
    paths = [folder / path for path in ids]
    missing = [path for path in paths if not is_sample(path)]
    if missing and not (skip and len(missing) < len(paths)):
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} files in {manifest} are not there: {listed(missing)}; paths are relative "
            f"to {folder} (set root to change that)" + ("" if skip else ", or set on_bad_image: skip")
        )
    if missing:
        dropped["files that are not there"] = len(missing)
        notes.append(
            f"{len(missing):,} of {len(paths):,} files in {manifest} are not there and are left out: {listed(missing)}"
        )
        gone = set(missing)
        ids = [name for name, path in zip(ids, paths, strict=True) if path not in gone]
        paths = [path for path in paths if path not in gone]
    none = np.full(len(ids), -1, dtype=np.int64)
    return ImageRecords(ids=ids, labels=none, splits=np.full(len(ids), "predict"), class_names=(), paths=paths)


def _chosen(records: ImageRecords, kept: list[int]) -> ImageRecords:
    assert records.paths is not None
    return replace(
        records,
        ids=[records.ids[k] for k in kept],
        labels=records.labels[kept],
        splits=records.splits[kept],
        paths=[records.paths[k] for k in kept],
    )
