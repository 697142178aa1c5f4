"""Tiny image-caption pairs, and what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from datamodules import CaptionedImagesDataModule
from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.conditions import Conditions

COLOURS = ("red", "green", "blue", "cold", "warm", "wet", "soft", "big", "small", "good", "old", "fine")
THINGS = ("dress", "boat", "car", "house")


def write_images(folder: Path, count: int, side: int = 6, seed: int = 0) -> list[str]:
    """Different noise in files `0.png`, `1.png`, …; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        pixels = np.random.default_rng((seed, k)).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return [f"{k}.png" for k in range(count)]


def caption(k: int) -> str:
    return f"a {COLOURS[k % len(COLOURS)]} {THINGS[k % len(THINGS)]}"


def write_pairs(folder: Path, count: int = 12, name: str = "pairs.csv") -> Path:
    """Images and a table of them with two columns of captions; every fourth is for validation."""
    names = write_images(folder, count)
    table = pd.DataFrame(
        {
            "image": names,
            "caption": [caption(k) for k in range(count)],
            "also": [f"the {THINGS[k % len(THINGS)]} was {COLOURS[k % len(COLOURS)]}" for k in range(count)],
            "split": ["validation" if k % 4 == 3 else "train" for k in range(count)],
        }
    )
    if name.endswith("parquet"):
        table.to_parquet(folder / name)
    else:
        table.to_csv(folder / name, index=False)
    return folder / name


def conditions(tokenizer: Path, image_size: int = 4, **others: Any) -> Conditions:
    images = ImageSpec(image_size, 3, (0.5,) * 3, (0.25,) * 3)
    return Conditions(images, "a tiny model", text_spec=TextSpec(str(tokenizer), 12, 60), **others)


def write_colours(folder: Path) -> Path:
    """Sixteen images of eight plain colours, each named by its caption; then eight more for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k in range(24):
        colour = np.array([255 * (k >> bit & 1) for bit in range(3)])
        noise = np.random.default_rng(k).integers(-20, 20, (4, 4, 3))
        Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{k}.png")
        said = {"caption": f"a {COLOURS[k % 8]} car", "also": f"the car is {COLOURS[k % 8]}"}
        rows.append({"image": f"{k}.png", **said, "split": "train" if k < 16 else "validation"})
    pd.DataFrame(rows).to_csv(folder / "pairs.csv", index=False)
    return folder / "pairs.csv"


def pairs_of(path: Path, tokenizer: Path, stage: str = "fit", **options: Any) -> CaptionedImagesDataModule:
    """The pairs, set up as for a model that reads images of 4 pixels and texts of 12 tokens."""
    options = {"batch_size": 4, "num_workers": 0, "seed": 1, "cache": tokenizer / "kept", **options}
    data = CaptionedImagesDataModule(path, **options)
    data.serve(conditions(tokenizer))
    data.prepare_data()
    data.setup(stage)
    return data


def said(data: CaptionedImagesDataModule, split: str) -> list[Sequence[str]]:
    return [data.records.captions[int(k)] for k in data.indices[split]]
