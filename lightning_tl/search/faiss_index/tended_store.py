"""`TendedStore`: a `FaissStore` that makes its index anew in the background when changes have worn it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from lightning_tl.search.faiss_index.drift import Drift, drift_of, made_anew
from lightning_tl.search.faiss_index.faiss_store import FaissStore
from lightning_tl.search.faiss_index.item_index import ItemIndex
from lightning_tl.search.vector_store import NewItems

_CHECKED_AFTER = 0.01  # share of the items that changed


class TendedStore(FaissStore):
    """Watches the sizes of lists and the recall on kept queries, see `drift_of`, after enough changes.

    Where a limit is passed, a thread makes a new index of the items while the old one answers; what changes meanwhile
    is done to both, and the new one takes over between two searches.

    Args:
        index: of the catalogue.
        told: is handed the reasons when an index is made anew, and an error if that fails.
    """

    def __init__(self, index: ItemIndex, told: Callable[[str], None] | None = None) -> None:
        super().__init__(index)
        self.told = told or (lambda text: None)
        self.drift: Drift | None = None
        self._changes: list[NewItems | Sequence[str]] = []
        self._changed, self._mending = 0, threading.Lock()
        self._thread: threading.Thread | None = None

    def upsert(self, items: NewItems) -> None:
        """See `VectorStore`."""
        with self._lock.writing():
            self.index.upsert(items)
            self._note(items, len(items.ids))
        self._tend()

    def remove(self, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        with self._lock.writing():
            gone = self.index.remove(ids)
            self._note(list(ids), gone)
        self._tend()
        return gone

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until nothing is made anew."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _note(self, change: NewItems | Sequence[str], count: int) -> None:
        self._changed += count
        if self._mending.locked():
            self._changes.append(change)

    def _tend(self) -> None:
        if self._changed < max(1.0, _CHECKED_AFTER * len(self.index)) or not self._mending.acquire(blocking=False):
            return
        with self._lock.writing():  # what comes from here on is noted
            self._changed, self._changes = 0, []
        self._thread = threading.Thread(target=self._mend, name="index-made-anew", daemon=True)
        self._thread.start()

    def _mend(self) -> None:
        try:
            with self._lock.reading():
                self.drift = drift_of(self.index)
                worn = self.index if self.drift.reasons else None
                copy = None if worn is None else worn.copied()
                if worn is not None:
                    start = len(self._changes)
            if worn is None or copy is None:
                return
            self.told(f"the index is made anew: {'; '.join(self.drift.reasons)}")
            fresh = made_anew(copy)
            with self._lock.writing():
                if self.index is worn:  # else another index was swapped in meanwhile
                    for change in self._changes[start:]:
                        if isinstance(change, NewItems):
                            fresh.upsert(change)
                        else:
                            fresh.remove(change)
                    self.index = fresh
        except Exception as error:
            self.told(f"the index could not be made anew, the old one goes on: {error}")
        finally:
            self._changes = []
            self._mending.release()
