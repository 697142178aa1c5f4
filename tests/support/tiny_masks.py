"""Small images with masks on disk: what is bright is of another class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("field", "wood", "water")
_COLOURS = np.array([(200, 180, 90), (40, 110, 50), (30, 60, 160)], np.uint8)


def pair(seed: int, size: tuple[int, int] = (16, 16), classes: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image [height, width, 3] of coloured quarters with noise, and its mask; its first row is ignored."""
    generator = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    row, column = generator.integers(4, height - 4), generator.integers(4, width - 4)
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            mask[rows, columns] = generator.integers(classes)
    image = _COLOURS[mask].astype(np.int64) + generator.integers(-20, 20, (*size, 3))
    mask[0] = 255
    return image.clip(0, 255).astype(np.uint8), mask


def mask_folder(
    root: Path, count: int = 24, size: tuple[int, int] = (16, 16), names: Sequence[str] | None = CLASSES
) -> Path:
    """`images`, `masks`, `chips.csv` with splits and blocks of two, and `classes.json`."""
    rows: list[dict[str, Any]] = []
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for k in range(count):
        image, mask = pair(k, size)
        Image.fromarray(image).save(root / "images" / f"{k:02d}.png")
        Image.fromarray(mask).save(root / "masks" / f"{k:02d}.png")
        split = ("train", "train", "validation", "test")[k // 2 % 4]
        rows.append({"path": f"images/{k:02d}.png", "mask": f"masks/{k:02d}.png", "split": split, "block": k // 2})
    pd.DataFrame(rows).to_csv(root / "chips.csv", index=False)
    if names is not None:
        (root / "classes.json").write_text(json.dumps(list(names)), encoding="utf-8")
    return root
