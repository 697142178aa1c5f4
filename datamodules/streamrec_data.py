"""`StreamRecDataModule`: events of a simulated streaming service."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.interaction_data import InteractionDataModule
from datamodules.made_once import cache_folder, made_once
from datamodules.streamrec import StreamRec, StreamRecSettings, simulate


class StreamRecDataModule(InteractionDataModule):
    """A seeded world in which the true preferences are known; see `datamodules.streamrec`.

    What was opened and at least half completed is taken; what was opened and given up is a hard negative.

    Args:
        world: the world's settings; default those whose difficulty is known.
        **options: of `InteractionDataModule`.
    """

    def __init__(self, world: StreamRecSettings | None = None, **options: Any) -> None:
        super().__init__(completion="completion", category="category", **options)
        self.world_settings = world or StreamRecSettings()

    @cached_property
    def world(self) -> StreamRec:
        """The world itself with its truth, which no model may read."""
        return simulate(self.world_settings)

    def event_files(self) -> Path:
        """Simulated once and kept."""
        return self._folder / "events.parquet"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Items and users."""
        items = pd.read_parquet(self._folder / "items.parquet", columns=["item", *self.texts, "category"])
        return items, pd.read_parquet(self._folder / "users.parquet")

    @property
    def _folder(self) -> Path:
        settings = json.dumps(asdict(self.world_settings), sort_keys=True)
        digest = hashlib.sha256(f"1 {settings}".encode()).hexdigest()[:16]
        folder = (self.cache or cache_folder()) / f"streamrec-{digest}"
        return made_once(folder, "settings.json", lambda new: self.world.write(new))
