"""Vectors of items that were not in the data of the run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lightning_tl.retrieval.retrieval_data import Pictures
from lightning_tl.retrieval.towers.item_pictures import encode_pictures
from lightning_tl.retrieval.towers.item_texts import ItemTexts, encode_all
from lightning_tl.retrieval.two_tower import TwoTower


def new_item_vectors(
    module: TwoTower, ids: Sequence[str], texts: Sequence[str], pictures: Pictures | None = None
) -> NDArray[np.float32]:
    """[items, dim], unit norm; see `raw_item_vectors`."""
    raw = torch.from_numpy(raw_item_vectors(module, ids, texts, pictures))
    found: NDArray[np.float32] = F.normalize(raw, dim=-1).numpy()
    return found


@torch.no_grad()
def raw_item_vectors(
    module: TwoTower, ids: Sequence[str], texts: Sequence[str], pictures: Pictures | None = None
) -> NDArray[np.float32]:
    """[items, dim], as histories are read by: what the item tower makes of items, known to the run or not.

    An item that training saw takes its own row of the embedding of numbers, any other the row for unknown ones.

    Args:
        module: built, with its trained weights, on the device where it shall compute.
        ids: [items].
        texts: [items]; empty where the tower reads none.
        pictures: of these items, for a tower that reads them.

    Raises:
        ValueError: items without text or picture whose tower reads nothing else, or vectors that are not finite; the
            message names them.
    """
    tower, device = module.items.eval(), module.device
    if tower.encoder is not None:
        blank = [name for name, text in zip(ids, texts, strict=True) if not text.strip()]
        if blank:
            raise ValueError(
                f"{_named(blank)} without any text, which the item tower reads: give a title or a description; nothing "
                "was written"
            )
    parts = []
    if tower.encoder is not None:
        parts.append(encode_all(tower.encoder, ItemTexts(tower.encoder, texts)))
    if tower.picture_encoder is not None:
        if pictures is None:
            raise ValueError("the item tower reads pictures, and the new items have none: name their column as the run")
        seen = encode_pictures(tower.picture_encoder, pictures)
        known = torch.from_numpy(pictures.known).to(seen.device)
        parts.append(torch.where(known[:, None], seen, tower.mean[tower.mean.shape[0] - seen.shape[1] :]))
    vectors = torch.zeros(len(ids), tower.dim, device=device)
    if parts:
        features = torch.cat([part.to(device) for part in parts], dim=1)
        vectors = vectors + tower.projection((features - tower.mean) / tower.spread.clamp(min=1e-6))
    if tower.ids:
        rows = torch.tensor([module.rows.row_of(name) for name in ids], dtype=torch.int64, device=device)
        vectors = vectors + tower.embedding(rows)
    found: NDArray[np.float32] = vectors.float().cpu().numpy()
    bad = [ids[row] for row in np.flatnonzero(~np.isfinite(found).all(axis=1)).tolist()]
    if bad:
        raise ValueError(f"{_named(bad)} whose vectors are not finite (NaN); nothing was written")
    return found


def _named(names: Sequence[str]) -> str:
    first = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"there {'is 1 item' if len(names) == 1 else f'are {len(names):,} items'} ({first})"
