"""A small event log on disk, in which users keep to their kind of items, and a two-tower module for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from datamodules import InteractionDataModule
from lightning_tl.retrieval import HistoryTransformer, ItemTower, TwoTower

KINDS = ("boat", "house", "book")


def write_log(folder: Path, users: int = 60, items: int = 48, events: int = 14, seed: int = 0) -> Path:
    """events.parquet, items.parquet and users.parquet: each user mostly takes items of one kind, never one twice."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = np.arange(items) % len(KINDS)
    rows = []
    for user in range(users):
        weight = np.where(kinds == user % len(KINDS), 30.0, 1.0)
        taken = generator.choice(items, events, replace=False, p=weight / weight.sum())
        times = np.sort(generator.integers(0, 40, events)) * 3600 + 1_700_000_000
        rows += [(f"u{user}", f"i{item}", time, 1.0) for item, time in zip(taken, times, strict=True)]
        for item in np.setdiff1d(np.arange(items), taken)[:2]:
            rows.append((f"u{user}", f"i{item}", int(times[3]), 0.1))
    pd.DataFrame(rows, columns=["user", "item", "time", "completion"]).to_parquet(folder / "events.parquet")
    names = [f"this is the {KINDS[kind]} of a {KINDS[(kind + item) % 3]}" for item, kind in enumerate(kinds)]
    table = {"item": [f"i{k}" for k in range(items)], "title": names, "category": [KINDS[kind] for kind in kinds]}
    pd.DataFrame(table).to_parquet(folder / "items.parquet")
    people = {
        "user": [f"u{k}" for k in range(users)],
        "gender": ["F", "M"] * (users // 2),
        "age": range(20, 20 + users),
    }
    pd.DataFrame(people).to_parquet(folder / "users.parquet")
    return folder


def tiny_data(folder: Path, **options: Any) -> InteractionDataModule:
    """The log of `write_log`, written if it is not there."""
    if not (folder / "events.parquet").is_file():
        write_log(folder)
    tables = {"events": folder / "events.parquet", "items": folder / "items.parquet", "users": folder / "users.parquet"}
    own: dict[str, Any] = {
        "completion": "completion",
        "category": "category",
        "texts": ["title"],
        "history_length": 6,
        "batch_size": 8,
        "num_workers": 0,
        "seed": 3,
        "cache": folder / "cache",
    }
    return InteractionDataModule(**tables, **(own | options))


def tiny_two_tower(encoder: Any = None, users: Any = None, **options: Any) -> TwoTower:
    """A module whose weights depend on nothing but the seed."""
    torch.manual_seed(0)
    tower = {name: options.pop(name) for name in ("adaptation", "encoder_lr", "ids") if name in options}
    items = ItemTower(encoder, dim=16, hidden=16, chunk=16, **tower)
    return TwoTower(items, users or HistoryTransformer(layers=1), **({"lr": 0.01} | options))
