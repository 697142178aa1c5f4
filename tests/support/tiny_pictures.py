"""The tiny log of events with pictures of its items, and an item tower that reads them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tiny_retrieval import tiny_data, write_log

from lightning_tl.backbones import HuggingFaceText, HuggingFaceVision
from lightning_tl.retrieval import ItemTower


def png(colour: int, side: int = 8) -> bytes:
    file = BytesIO()
    Image.fromarray(np.full((side, side, 3), colour, np.uint8)).save(file, "PNG")
    return file.getvalue()


def picture_log(folder: Path, **options: Any) -> Any:
    """The tiny log, every third item without a picture."""
    if not (folder / "events.parquet").is_file():
        write_log(folder)
        table = pd.read_parquet(folder / "items.parquet")
        table["cover"] = [None if k % 3 == 2 else png(5 * k) for k in range(len(table))]
        table.to_parquet(folder / "items.parquet")
    return tiny_data(folder, picture="cover", **options)


def vision(saved_models: Path) -> HuggingFaceVision:
    return HuggingFaceVision(str(saved_models / "vit"))


def tower_of(saved_models: Path, text: bool, **options: Any) -> ItemTower:
    encoder = HuggingFaceText(str(saved_models / "minilm")) if text else None
    return ItemTower(encoder, picture_encoder=vision(saved_models), dim=8, hidden=8, **options)
