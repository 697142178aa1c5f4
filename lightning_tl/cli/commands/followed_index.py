"""What `index` does after it wrote an index: the bundle takes it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_tl.retrieval.retrieval_data import ReadablePictures
from lightning_tl.search import ItemIndex
from lightning_tl.serving.bundle.manifest import FILE, Manifest

Vectors = NDArray[np.float32]
Pictures = tuple[ReadablePictures, Sequence[str]]


def follow_index(
    bundle: Path, run_index: Path, index: ItemIndex, changed: Mapping[str, Vectors], pictures: Pictures | None = None
) -> str:
    """Bring a bundle up to an index, and say what came of it in a line; empty where there is no bundle.

    Args:
        bundle: its folder.
        run_index: folder of the index that was written.
        index: the same, open.
        changed: by id, vectors of items that came or changed, as histories are read by.
        pictures: pictures that are new, and the ids of their items.

    Raises:
        OSError: the bundle cannot be written; the old one stays.
    """
    if not (bundle / FILE).is_file():
        return ""
    try:
        from lightning_tl.bundling.item_thumbnails import ItemThumbnails
        from lightning_tl.bundling.refreshed_bundle import refreshed_bundle
    except ModuleNotFoundError as error:
        return f"{bundle}: stays as it is, as {error.name} is not installed"
    asked = len(index)
    try:
        shown = None if pictures is None else ItemThumbnails(*pictures)
        before = Manifest.read(bundle).version
        after = refreshed_bundle(bundle, index, changed, run_index, shown).version
        if shown is not None:
            shown.tell_unreadable()
    except (ValueError, FileNotFoundError) as error:
        return f"{bundle}: stays as it is, {error}"
    left_out = asked - len(index)
    fewer = f"; {left_out:,} items that the run's data has not are left out" if left_out else ""
    versions = f"version {after[:12]}, before {before[:12]}"
    return f"{bundle}: {len(index):,} items, {versions}{fewer}; a service takes it by SIGHUP"
