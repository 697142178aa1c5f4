"""A PostgreSQL of its own for `service_life.py`, which can be restarted."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import numpy as np

from lightning_tl.search import ItemIndex, NewItems
from lightning_tl.search.stores.postgres_store import PostgresStore
from lightning_tl.serving.opening import INDEX


class Database:
    """With the items of a bundle, as the catalogue "life".

    Args:
        folder: of its data.
        bundle: with the items.
    """

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder = folder
        self.server = self._started()
        self.address: str = self.server.get_uri()
        index = ItemIndex.open(bundle / INDEX, None)
        places = np.array(list(index.places.values()), np.int64)
        items = NewItems(
            ids=list(index.places),
            vectors=index.kept.take(places),
            titles=[index.titles[place] for place in places.tolist()],
        )
        PostgresStore.load(self.address, "life", items, index.model_sha256, {}).close()

    async def restart(self) -> None:
        """Stop it, and start it anew at the same address."""
        await asyncio.to_thread(self.server.cleanup)
        await asyncio.sleep(1.0)
        self.server = await asyncio.to_thread(self._started)

    def _started(self) -> Any:
        pgserver: Any = importlib.import_module("pgserver")  # a package for tests, which starts a real server
        return pgserver.get_server(self.folder, cleanup_mode="stop")
