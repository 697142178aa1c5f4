"""`refreshed_bundle`: a bundle of recommendations with the index of its run as it is now."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.bundling.export_bundle import put_in_place
from lightning_tl.bundling.recommender_card import CARD, index_facts, recommender_card_text
from lightning_tl.bundling.two_towers import completed
from lightning_tl.inputs.thumbnail import SIDE
from lightning_tl.search import ItemIndex
from lightning_tl.serving.answering import RecommendingModel, Wish
from lightning_tl.serving.bundle.manifest import Manifest, file_sha256
from lightning_tl.serving.models.history_texts import TITLES, read_titles, write_titles
from lightning_tl.serving.models.thumbnails import FILE as PICTURES
from lightning_tl.serving.models.thumbnails import Thumbnails, write_thumbnails
from lightning_tl.serving.models.user_tower import ITEMS, VECTORS, read_history_items, write_history_items
from lightning_tl.serving.models.users_file import FILE as USERS
from lightning_tl.serving.opening import INDEX, open_bundle

Vectors = NDArray[np.float32]


def refreshed_bundle(
    folder: Path,
    index: ItemIndex,
    changed: Mapping[str, Vectors],
    run_index: Path,
    pictures: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write the bundle anew with another index of the same model; it appears whole, in place of the one that is there.

    Items of which histories cannot be read are left out, as the export left them out: the run's data has them not.

    Args:
        folder: of the bundle.
        index: that the run has now; what is left out is removed from it.
        changed: by id, vectors [dim] of items that came or changed, before they are scaled to length 1.
        run_index: folder of the run's index.
        pictures: by id, small image files that stand for those which the bundle has, see `ItemThumbnails`; of use where
            it has any. An item that came or changed and is not among them has no picture.

    Returns:
        what the bundle is now.

    Raises:
        FileNotFoundError, ValueError: there is no whole bundle, or it is of other weights.
        OSError: it cannot be written.
    """
    manifest = Manifest.read(folder)
    before = ItemIndex.open(folder / INDEX, index.model_sha256)
    old = np.load(folder / VECTORS, mmap_mode="r")
    names = read_history_items(folder, before.ids)
    rows = {name: row for row, name in enumerate(names) if name}
    new = [name for name in changed if name not in rows]
    rows.update({name: len(names) + number for number, name in enumerate(new)})
    vectors = np.concatenate([old, np.zeros((len(new), old.shape[1]), np.float32)])
    for name, vector in changed.items():
        vectors[rows[name]] = vector
    index.remove([name for name in list(index.places) if name not in rows])
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for path in folder.iterdir():
            if path.is_file() and path.name not in (VECTORS, ITEMS, PICTURES):
                shutil.copy2(path, made / path.name)
        index.write(made / INDEX)
        write_history_items(made, [*names, *new], vectors)
        if (folder / TITLES).is_file():
            write_titles(made, _titles(read_titles(folder), len(new), index, {name: rows[name] for name in changed}))
        shown = _pictures(folder, made, index, changed, pictures or {})
        card = {**manifest.card, **shown, "items": len(index), "index": index_facts(index, time.time())}
        card["run_index"] = file_sha256(run_index / CARD)
        manifest = dataclasses.replace(manifest, card=card)
        (made / "README.md").write_text(recommender_card_text(manifest), encoding="utf-8")
        manifest = completed(manifest, made)
        _answers(made)
        made.chmod(0o755)
        put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return manifest


def _pictures(
    folder: Path, made: Path, index: ItemIndex, changed: Mapping[str, Vectors], pictures: Mapping[str, bytes]
) -> dict[str, Any]:
    """Write those of the items that are offered now, where the bundle has any, and tell of them for its card."""
    if not (folder / PICTURES).is_file():
        return {}
    before, lost = Thumbnails(folder), 0

    def shown() -> Iterator[tuple[str, bytes]]:
        nonlocal lost
        for name in index.places:
            found = (pictures if name in changed or name in pictures else before).get(name)
            lost += found is None and name in pictures
            if found is not None:
                yield name, found

    count = write_thumbnails(made, shown())
    told = {"items": count, "side": SIDE, "bytes": (made / PICTURES).stat().st_size, "unreadable": lost}
    return {"pictures": told}


def _titles(before: list[str], more: int, index: ItemIndex, changed: Mapping[str, int]) -> list[str]:
    """What a user tower reads of items, with those that came or changed."""
    titles = before + [""] * more
    for name, row in changed.items():
        if name in index.places:
            titles[row] = index.titles[index.places[name]]
    return titles


def _answers(folder: Path) -> None:
    """Open a bundle and let it answer once, before anybody depends on it."""
    model: Any = open_bundle(folder)
    assert isinstance(model, RecommendingModel)
    users = pq.read_table(folder / USERS, columns=["user"]).slice(0, 1).column("user").to_pylist()
    model.recommend([Wish(user=user, k=1) for user in users] or [Wish(history=(), k=1)])
