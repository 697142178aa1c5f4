"""`StreamRecDataModule`: events of a simulated streaming service."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datamodules.events.interaction_data import InteractionDataModule
from datamodules.loading.made_once import cache_folder, made_once
from datamodules.loading.unused_options import check_no_files
from datamodules.sets.streamrec import StreamRec, StreamRecSettings, oracle_scores, simulate
from lightning_tl.contracts.interactions import Queries


class Oracle:
    """The true preferences as a ranking: what no model can beat on average.

    Args:
        world: with its truth.
    """

    name = "oracle"

    def __init__(self, world: StreamRec) -> None:
        self.world = world
        self._last: tuple[Queries, Tensor] | None = None

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice] chances that an opening is a completed one of the item."""
        if self._last is None or self._last[0] is not queries:  # all items come of one computation
            found = oracle_scores(self.world, queries.users.astype(np.int64), np.asarray(queries.times))
            self._last = queries, torch.from_numpy(found).float()
        return self._last[1][:, items]


class StreamRecDataModule(InteractionDataModule):
    """A seeded world in which the true preferences are known; see `datamodules.sets.streamrec`.

    What was opened and at least half completed is taken; what was opened and given up is a hard negative, and may be
    offered again, unless `exclude` is "seen".

    Args:
        world: the world's settings; default those whose difficulty is known.
        **options: of `InteractionDataModule`, but for the files of events, items and users.

    Raises:
        ValueError: such a file.
    """

    def __init__(self, world: StreamRecSettings | None = None, **options: Any) -> None:
        options.setdefault("exclude", "taken")  # what was given up once may be opened again
        check_no_files(
            options,
            "events, items and users are simulated",
            "set the world's size with world (--data.world.users=COUNT, --data.world.items=COUNT)",
        )
        super().__init__(completion="completion", category="category", picture="thumbnail", **options)
        self.world_settings = world or StreamRecSettings()

    @cached_property
    def world(self) -> StreamRec:
        """The world itself with its truth, which no model may read."""
        return simulate(self.world_settings)

    @cached_property
    def oracle(self) -> Oracle:
        """The true ranking, for reports."""
        return Oracle(self.world)

    def event_files(self) -> Path:
        """Simulated once and kept."""
        return self._folder / "events.parquet"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Items and users."""
        items = pd.read_parquet(
            self._folder / "items.parquet",
            columns=["item", "title", "description", "tags", "category", "thumbnail"],
        )
        return items, pd.read_parquet(self._folder / "users.parquet")

    @property
    def _folder(self) -> Path:
        settings = json.dumps(asdict(self.world_settings), sort_keys=True)
        digest = hashlib.sha256(f"1 {settings}".encode()).hexdigest()[:16]
        folder = (self.cache or cache_folder()) / f"streamrec-{digest}"
        return made_once(folder, "settings.json", lambda new: self.world.write(new))
