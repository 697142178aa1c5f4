"""Which files and folders below a class folder are samples: rasters, and products of one file for each band."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from datamodules.images.loose_images import FoundImages, leads_back
from datamodules.labelled.records import listed
from lightning_tl.earth.product_names import sample_of_file
from lightning_tl.earth.products import is_raster, looks_like_product

_METADATA = "MTD_MSIL"
_PARTS = {"GRANULE", "IMG_DATA"}  # folders of a Sentinel-2 product


def find_rasters(folder: Path, deep: bool = True) -> FoundImages:
    """All samples below a folder; see `find_images`, whose place this takes.

    A folder whose files are the bands of one sample is a sample, and its files are none.

    Args:
        folder: the one to look through; where it is a sample itself, it is the one that is found.
        deep: also what lies in its subfolders.

    Raises:
        ValueError: a folder holds the bands of several samples, each in a file of its own.
    """
    if is_product(folder):
        return FoundImages([folder])
    found, seen = FoundImages(), {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders) if deep else []:
            inner = Path(parent) / name
            real = os.path.realpath(inner)
            if name.startswith("."):
                continue
            if real in seen or leads_back(inner):
                found.repeated.append(inner)
                continue
            seen.add(real)
            if is_product(inner):
                found.paths.append(inner)
            else:
                kept.append(name)
        folders[:] = kept
        _check_apart(Path(parent), files)
        for name in sorted(files):
            if name.startswith("."):
                found.left_out["hidden"] += 1
            elif is_raster(name):
                found.paths.append(Path(parent) / name)
            else:
                found.left_out[Path(name).suffix.lower() or "without an ending"] += 1
    found.paths.sort()
    return found


def is_product(folder: Path) -> bool:
    """Whether the files of a folder are the bands of one sample."""
    try:
        entries = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return False
    if folder.suffix.upper() == ".SAFE" or _PARTS & set(entries) or any(e.startswith(_METADATA) for e in entries):
        return True
    return looks_like_product([name for name in entries if is_raster(name)])


def _check_apart(folder: Path, files: list[str]) -> None:
    """Refuse files that are single bands of several samples, which would be taken for samples of their own."""
    samples = Counter(sample for name in files if is_raster(name) and (sample := sample_of_file(Path(name).stem)))
    several = [name for name, count in samples.items() if count > 1]
    if several:
        raise ValueError(
            f"{folder} holds the bands of {len(several)} samples in files of their own ({listed(sorted(several), 3)}): "
            "put those of each sample into a folder of its own, or stack them into one file"
        )
